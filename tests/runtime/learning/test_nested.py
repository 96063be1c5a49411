"""Levels that start from another level's state, and start again when it moves [Nested Learning, Eq. 72]."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.runtime.build import build
from nestdsl.runtime.learning.naive import naive_loss
from nestdsl.runtime.learning.strategies import CUT, THROUGH, WHOLE, Strategy
from nestdsl.runtime.module import NestModule
from nestdsl.runtime.step_levels import StepLevels

NESTED = """
block layer() {{
  level slow = mlp(expand = 2) {{ every 8 tokens  optimizer gd(step = 0.5)  gradient {gradient} }}
  level fast = mlp(expand = 2) {{
    every 2 tokens  optimizer {optimizer}  gradient {gradient}
    init from mid  reset parent
  }}
  level mid = mlp(expand = 2) {{
    every 4 tokens  optimizer {optimizer}  gradient {gradient}
    init from slow  reset {reset}
  }}
  flow h = in + (in -> rms_norm -> {mixer})
  flow out = h + (h -> rms_norm -> fast) + (h -> rms_norm -> mid -> slow)
}}
block gated {{
  flow k = in -> linear -> l2_normalize
  level memory = matrix {{ learn k -> in  every 1 token  optimizer gd(step = 0.5, retain = 0.9) }}
  flow out = memory(k)
}}
model nested(dim = 8, depth = 2) {{
  input ids(11)
  level stack = layer repeat depth
  flow out = in -> embedding(dim) -> stack -> linear(11)
}}
"""


def model_of(
    gradient: str = "stop", optimizer: str = "gd(step = 0.3)", reset: str = "parent", mixer: str = "gated"
) -> NestModule:
    text = NESTED.format(gradient=gradient, optimizer=optimizer, reset=reset, mixer=mixer)
    return nestdsl.parse(text).compile(compile=False).double()


def stream(tokens: int = 22, batch: int = 3) -> tuple[Tensor, Tensor]:
    ids = torch.randint(11, (batch, tokens + 1), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1], ids[:, 1:]


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


def gradients(model: NestModule, loss: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, list(model.parameters()))


@pytest.mark.parametrize("reset", ["parent", "context"])
@pytest.mark.parametrize("optimizer", ["gd(step = 0.3, retain = 0.9, toward = init)", "adamw(lr = 0.01)"])
@pytest.mark.parametrize(
    ("gradient", "mixer", "graph"),
    [
        ("stop", "linear", CUT),  # nothing crosses a boundary, so that cutting is exact
        ("stop", "gated", WHOLE),
        ("through", "gated", THROUGH),
    ],
)
def test_equal_to_the_plain_loop_in_value_and_in_every_gradient(
    gradient: str, mixer: str, graph: Strategy, optimizer: str, reset: str
) -> None:
    model = model_of(gradient, optimizer, reset, mixer)
    assert model.learning_strategy() is graph
    found, wanted = model.loss(*stream()), naive_loss(model, *stream())
    close(found, wanted)
    for one, other in zip(gradients(model, found), gradients(model, wanted), strict=True):
        close(one, other)


def test_a_reset_level_forgets_what_only_it_has_learned() -> None:
    losses = {reset: model_of(reset=reset).loss(*stream()) for reset in ("parent", "context")}
    assert abs(float(losses["parent"].detach() - losses["context"].detach())) > 1e-6


def test_it_reads_the_parents_weights_right_after_the_parent_has_moved() -> None:
    model = nestdsl.parse("""
model m {
  input ids(11)
  level fast = linear(11) { every 2 tokens  init from slow  reset parent  optimizer gd(step = 0.5) }
  level slow = linear(11) { every 4 tokens  optimizer gd(step = 0.5) }
  flow x = in -> embedding(11)
  flow out = (x -> fast) + (x -> slow)
}
""").compile(compile=False)
    ids, _ = stream(tokens=9)
    with torch.no_grad():
        _, state = model(ids[:, :5], learn=True)
        for name, weight in state["fast"]["weights"].items():
            assert torch.equal(weight, state["slow"]["weights"][name])
            assert not torch.equal(weight[0], model.get_parameter(f"slow.layer.{name}"))
        _, state = model(ids[:, 5:7], state, learn=True)
        assert not torch.equal(state["fast"]["weights"]["weight"], state["slow"]["weights"]["weight"])


def test_learning_while_reading_is_learning_in_training() -> None:
    model = model_of(optimizer="adamw(lr = 0.01)").eval()
    inputs, targets = stream()
    with torch.no_grad():
        whole, _ = model(inputs, learn=True)
        loss = torch.nn.functional.cross_entropy(whole.flatten(0, 1), targets.flatten())
        close(loss, model.loss(inputs, targets))
        for lengths in ((1,) * 22, (5, 3, 14)):
            state, parts = None, []
            for part in inputs.split(lengths, dim=1):
                y, state = model(part, state, learn=True)
                parts.append(y)
            close(torch.cat(parts, dim=1), whole)


def test_meta_gradients_equal_finite_differences() -> None:
    model = model_of("through")
    inputs, targets = stream(tokens=12, batch=2)
    model.loss(inputs, targets).backward()
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        direction = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.add_(direction, alpha=sign * 1e-5)
                losses.append(model.loss(inputs, targets))
                weight.sub_(direction, alpha=sign * 1e-5)
        assert weight.grad is not None
        torch.testing.assert_close(
            (weight.grad * direction).sum(), (losses[0] - losses[1]) / 2e-5, rtol=1e-5, atol=1e-8
        )


def test_a_parent_across_sequences_gives_its_shared_weights() -> None:
    model = nestdsl.parse("""
model m {
  input ids(11)
  level fast = linear(11) { every 4 tokens  init from slow  reset parent  optimizer gd(step = 0.5) }
  level slow = linear(11) { every 2 steps }
  flow x = in -> embedding(11)
  flow out = (x -> fast) + (x -> slow)
}
""").compile(compile=False)
    model = model.double()
    found, wanted = model.loss(*stream()), naive_loss(model, *stream())
    close(found, wanted)
    for one, other in zip(gradients(model, found), gradients(model, wanted), strict=True):
        close(one, other)


def test_it_has_no_weights_of_its_own_and_follows_the_parents() -> None:
    model = model_of()
    assert not [name for name, _ in model.named_parameters() if ".fast." in name or ".mid." in name]
    assert sum(weight.numel() for weight in model.parameters()) == model.plan.costs.parameters
    assert not [name for name in model.state_dict() if ".fast." in name]
    twin = copy.deepcopy(model)
    before = model(stream()[0])[0]
    levels = StepLevels(model)
    model.loss(*stream()).backward()
    levels.step(1)
    moved = model(stream()[0])[0]
    assert (moved - before).abs().max() > 1e-6
    twin.load_state_dict(model.state_dict())
    close(twin(stream()[0])[0], moved)
    close(twin.loss(*stream()), model.loss(*stream()))
    fresh = build(model.plan, seed=1, compile=False).double()
    fresh.load_state_dict(model.state_dict())
    close(fresh.loss(*stream()), model.loss(*stream()))


@pytest.mark.slow
def test_compiled_equals_eager() -> None:
    eager = model_of()
    model = build(eager.plan).double()
    found, wanted = model.loss(*stream()), eager.loss(*stream())
    close(found, wanted)
    for one, other in zip(gradients(model, found), gradients(eager, wanted), strict=True):
        close(one, other)
