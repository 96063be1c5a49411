"""Levels that learn from surprise in context: equal to the plain loop, causal, each row for itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.runtime.learning import cut, rows
from nestdsl.runtime.learning.naive import naive_loss
from nestdsl.runtime.learning.strategies import CUT, THROUGH, WHOLE
from nestdsl.runtime.module import NestModule

CHAIN = """
block layer(optimizer_step = 0.5) {{
  level cms[2] = {kind} {{
    every 4 * 2 ** index tokens
    optimizer {optimizer}
    gradient {gradient}
  }}
  flow h = in + (in -> rms_norm -> {mixer})
  flow out = h + (h -> rms_norm -> cms)
}}
model chain(dim = 8, depth = 2) {{
  input ids(11)
  level stack = layer repeat depth
  flow out = in -> embedding(dim) -> stack -> linear(11)
}}
"""
_GATED = """
block gated {
  flow k = in -> linear -> l2_normalize
  level memory = matrix {
    learn k -> in  every 1 token
    optimizer gd(step = 0.5, retain = 0.9)  gradient MODE
  }
  flow out = memory(k)
}
"""


def model_of(
    optimizer: str = "gd(step = 0.5)",
    gradient: str = "stop",
    mixer: str = "conv(3)",
    kind: str = "mlp(expand = 2)",
) -> NestModule:
    text = CHAIN.format(optimizer=optimizer, gradient=gradient, mixer=mixer.partition(" ")[0], kind=kind)
    if mixer.startswith("gated"):
        text = _GATED.replace("MODE", mixer.partition(" ")[2]) + text
    return nestdsl.parse(text).compile(compile=False).double()


def stream(tokens: int = 22, batch: int = 3) -> tuple[Tensor, Tensor]:
    ids = torch.randint(11, (batch, tokens + 1), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1], ids[:, 1:]


def assert_equal_to_the_plain_loop(model: NestModule, tokens: int = 22) -> None:
    inputs, targets = stream(tokens)
    found, wanted = model.loss(inputs, targets), naive_loss(model, inputs, targets)
    close(found, wanted)
    weights = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(found, weights), torch.autograd.grad(wanted, weights), strict=True
    ):
        close(one, other)


def assert_learning_while_reading_is_learning_in_training(model: NestModule) -> None:
    inputs, targets = stream()
    with torch.no_grad():
        whole, _ = model(inputs, learn=True)
        loss = torch.nn.functional.cross_entropy(whole.flatten(0, 1), targets.flatten())
        close(loss, model.loss(inputs, targets))


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(
    "optimizer",
    [
        "gd(step = 0.5)",
        "gd(step = 0.5, retain = 0.9)",
        "gd(step = 0.5, retain = 0.9, toward = init)",
        "sgd(lr = 0.1, momentum = 0.9)",
        "adamw(lr = 0.01)",
        "muon",
        "m3(lr = 0.01, period = 2)",
        'sgd(lr = 0.01, reduce = "sum")',
    ],
)
@pytest.mark.parametrize("gradient", ["stop", "through"])
@pytest.mark.parametrize("mixer", ["gated through", "attention(2)", "linear"])
def test_equal_to_the_plain_loop_in_value_and_in_every_gradient(
    optimizer: str, gradient: str, mixer: str
) -> None:
    model = model_of(optimizer, gradient, mixer)
    first_order = CUT if mixer == "linear" else WHOLE  # no state leads across segments
    assert model.learning_strategy() is (THROUGH if gradient == "through" else first_order)
    assert_equal_to_the_plain_loop(model)


@pytest.mark.parametrize(
    "kind", ["linear(bias = false)", "low_rank(2)", "conv(2)", "matrix(2)", "mlp(hidden = 6, bias = false)"]
)
def test_every_kind_of_layer_learns(kind: str) -> None:
    model = model_of(mixer="linear", kind=kind)
    if "conv" in kind:  # what it carries leads across segments, and is cut there
        assert_equal_to_the_plain_loop(model, tokens=4)
        assert_learning_while_reading_is_learning_in_training(model)
    else:
        assert_equal_to_the_plain_loop(model)


def test_gradients_that_do_not_wait_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "GATHERED_TOKENS", 8)
    assert_equal_to_the_plain_loop(model_of(mixer="linear"), tokens=46)


def test_small_and_large_periods_give_the_same_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to so many tokens weights are added to directly, and their start has its part later."""
    monkeypatch.setattr(rows, "GATHERED_TOKENS", 12)
    monkeypatch.setattr(rows, "DIRECT_TOKENS", 4)
    for kind in ("mlp(expand = 2)", "mlp(hidden = 6, bias = false)"):
        assert_equal_to_the_plain_loop(model_of(mixer="linear", kind=kind), tokens=46)


def test_cut_at_boundaries_the_rows_learn_the_same_and_the_first_segment_is_exact() -> None:
    cut, whole = model_of(mixer="gated truncated(1)"), model_of(mixer="gated through")
    assert cut.learning_strategy() is CUT
    close(cut.loss(*stream()), whole.loss(*stream()))
    inputs, targets = stream(tokens=4)
    gradients = [
        torch.autograd.grad(model.loss(inputs, targets), list(model.parameters())) for model in (cut, whole)
    ]
    for one, other in zip(*gradients, strict=True):
        close(one, other)


def test_attention_cut_at_boundaries_equals_the_loop_that_cuts_it() -> None:
    """What reads the same from a cache with room, and from one that grows."""
    text = CHAIN.replace("-> {mixer}", "-> attend").replace(
        "block layer(optimizer_step = 0.5) {{",
        "block layer(optimizer_step = 0.5) {{\n  level attend = attention(2) {{ gradient truncated(1) }}",
    )
    text = text.format(optimizer="gd(step = 0.5)", gradient="stop", kind="mlp(expand = 2)")
    model = nestdsl.parse(text).compile(compile=False).double()
    assert model.learning_strategy() is CUT
    inputs, targets = stream()
    weights = list(model.parameters())
    loss = model.loss(inputs, targets)
    found = torch.autograd.grad(loss, weights)
    close(loss, naive_loss(model, inputs, targets))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut, "in_buffers", lambda model, state, tokens: state)
        wanted = torch.autograd.grad(model.loss(inputs, targets), weights)
    for one, other in zip(found, wanted, strict=True):
        close(one, other)


@pytest.mark.parametrize("mixer", ["conv(3)", "gated truncated(1)", "attention(2)"])
def test_learning_while_reading_is_learning_in_training(mixer: str) -> None:
    model = model_of(mixer=mixer).eval()
    inputs, targets = stream()
    with torch.no_grad():
        whole, _ = model(inputs, learn=True)
        loss = torch.nn.functional.cross_entropy(whole.flatten(0, 1), targets.flatten())
        close(loss, model.loss(inputs, targets))
        for lengths in ((1,) * 22, (4, 4, 14), (3, 6, 13), (21, 1)):
            state, parts = None, []
            for part in inputs.split(lengths, dim=1):
                y, state = model(part, state, learn=True)
                parts.append(y)
            close(torch.cat(parts, dim=1), whole)


def test_a_label_moves_only_weights_that_read_it_and_later_tokens() -> None:
    model = model_of(mixer="gated truncated(1)").eval()
    inputs, _ = stream()
    with torch.no_grad():
        before, _ = model(inputs, learn=True)
        for place in range(22):
            changed = inputs.clone()
            changed[:, place] = (inputs[:, place] + 1) % 11
            after, _ = model(changed, learn=True)
            close(after[:, :place], before[:, :place])
            assert (after[:, place] - before[:, place]).abs().max() > 1e-9


def test_rows_learn_for_themselves() -> None:
    model = model_of(mixer="gated through").eval()
    inputs, _ = stream()
    with torch.no_grad():
        together, _ = model(inputs, learn=True)
        for row in range(3):
            close(model(inputs[row : row + 1], learn=True)[0], together[row : row + 1])


def test_weights_move_at_the_ends_of_periods_only_and_not_without_learn() -> None:
    model = model_of().eval()
    inputs, _ = stream()
    with torch.no_grad():
        still, _ = model(inputs)
        learned, _ = model(inputs, learn=True)
    close(learned[:, :4], still[:, :4])
    assert (learned[:, 4:] - still[:, 4:]).abs().max() > 1e-6


def test_with_step_zero_nothing_is_learned() -> None:
    model = model_of(optimizer="gd(step = 0)").eval()
    inputs, _ = stream()
    with torch.no_grad():
        close(model(inputs, learn=True)[0], model(inputs)[0])


@pytest.mark.slow
@pytest.mark.parametrize("mixer", ["gated truncated(1)", "gated through"])
def test_compiled_equals_eager(mixer: str) -> None:
    eager = model_of(mixer=mixer)
    from nestdsl.runtime.build import build

    model = build(eager.plan).double()
    inputs, targets = stream()
    found, wanted = model.loss(inputs, targets), eager.loss(inputs, targets)
    close(found, wanted)
    gradients = [
        torch.autograd.grad(loss, list(one.parameters())) for loss, one in ((found, model), (wanted, eager))
    ]
    for one, other in zip(*gradients, strict=True):
        close(one, other)
