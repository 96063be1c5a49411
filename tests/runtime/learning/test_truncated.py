"""`gradient truncated(n)`: each state is differentiated as far back as it says, and no further."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

import nestdsl
from nestdsl.runtime.build import build
from nestdsl.runtime.learning.learner import Learner
from nestdsl.runtime.learning.naive import naive_loss
from nestdsl.runtime.learning.strategies import CUT, WINDOW
from nestdsl.runtime.module import NestModule

PROGRAM = """
block gated {{
  flow k = in -> linear -> l2_normalize(2)
  flow v = in -> linear
  level memory = {kind} {{
    learn k -> v  every 1 token, chunk 4
    optimizer dgd(step = 0.5, retain = 0.9, toward = init)
    gradient {memory}
  }}
  flow out = memory(k)
}}
block pair {{
  default {{
    every 1 token, chunk 2
    optimizer gd(step = 0.5, retain = 0.9)
    gradient {memory}
  }}
  flow k = in -> linear -> l2_normalize
  flow v = in -> linear
  level one = matrix {{ learn k -> v }}
  level other = matrix {{ learn k -> in }}
  flow out = one(k) + other(k)
}}
model truncated(dim = 8) {{
  input ids(11)
  flow x = in -> embedding(dim) -> conv(3)
  level fast = mlp(expand = 1) {{ every 4 tokens  optimizer {optimizer}  gradient {fast} }}
  level slow = {layer} {{ every 8 tokens  optimizer {optimizer}  gradient {slow} }}
  level nested = {layer} {{ every 4 tokens  optimizer {optimizer}  gradient {nested}  {start} }}
  flow h = x + (x -> rms_norm -> {mixer})
  flow out = h + (h -> rms_norm -> fast -> nested -> slow) -> linear(11)
}}
"""


def clauses(
    fast: str = "stop",
    slow: str = "stop",
    memory: str = "through",
    *,
    mixer: str = "gated",
    kind: str = "matrix(heads = 2)",
    optimizer: str = "gd(step = 0.5)",
    layer: str = "mlp(expand = 1)",
    nested: str = "stop",
    start: str = "",
) -> dict[str, str]:
    return {
        "fast": fast,
        "slow": slow,
        "memory": memory,
        "mixer": mixer,
        "kind": kind,
        "optimizer": optimizer,
        "layer": layer,
        "nested": nested,
        "start": start,
    }


def model_of(said: dict[str, str]) -> NestModule:
    return nestdsl.parse(PROGRAM.format(**said)).compile(compile=False).double()


def stream(tokens: int = 27, batch: int = 2) -> tuple[Tensor, Tensor]:
    ids = torch.randint(11, (batch, tokens + 1), generator=torch.Generator().manual_seed(1))
    return ids[:, :-1], ids[:, 1:]


def gradients(loss: Tensor, model: NestModule) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, list(model.parameters()), materialize_grads=True)


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)


def all_close(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    for one, other in zip(found, wanted, strict=True):
        close(one, other)


def differ(found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> bool:
    return any((one - other).abs().max() > 1e-7 for one, other in zip(found, wanted, strict=True))


CASES = {
    "memories one segment": clauses(memory="truncated(1)"),
    "memories two": clauses(memory="truncated(2)"),
    "memories four": clauses(memory="truncated(4)", kind="associative(heads = 2)"),
    "updates one": clauses("truncated(1)", "truncated(1)", mixer="conv(3)"),
    "updates two, momentum": clauses(
        "truncated(2)", "truncated(1)", mixer="conv(3)", optimizer="sgd(lr = 0.3, momentum = 0.9)"
    ),
    "adam": clauses("stop", "truncated(2)", mixer="conv(2)", optimizer="adamw(lr = 0.05)"),
    "one stops": clauses("stop", "truncated(1)", "truncated(3)", kind="associative(heads = 2)"),
    "all differ": clauses("truncated(3)", "truncated(1)", "truncated(2)", optimizer="muon"),
    "a memory without a bound": clauses("truncated(1)", "stop", "through"),
    "updates without a bound": clauses("through", "truncated(1)", "truncated(2)"),
    "cut memories, unbounded updates": clauses("through", "through", "truncated(1)"),
    "a memory that stops": clauses("truncated(1)", "truncated(1)", "stop"),
    "attention": clauses("truncated(1)", "stop", mixer="attention(2)"),
    "decay toward the start": clauses(
        "truncated(1)", "stop", mixer="conv(3)", optimizer="gd(step = 0.5, retain = 0.8, toward = init)"
    ),
    "memories side by side": clauses("truncated(2)", "stop", "truncated(2)", mixer="pair"),
    "a level that starts from another": clauses(
        "stop", "truncated(1)", mixer="conv(3)", nested="truncated(2)", start="init from slow"
    ),
    **{
        f"a level reset with its parent, {slow} and {nested}": clauses(
            "stop",
            slow,
            "truncated(2)",
            nested=nested,
            start="init from slow  reset parent",
            optimizer="gd(step = 0.5, retain = 0.8, toward = init)",
        )
        for slow, nested in (
            ("stop", "truncated(1)"),
            ("truncated(2)", "stop"),
            ("truncated(1)", "truncated(3)"),
            ("through", "truncated(1)"),
            ("truncated(1)", "through"),
        )
    },
    "a layer with a state": clauses("truncated(2)", "stop", "truncated(3)", layer="conv(3)"),
}


@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_plain_loop_in_value_and_in_every_gradient(case: str) -> None:
    model, (inputs, targets) = model_of(CASES[case]), stream()
    wanted_kind = CUT if case == "memories one segment" else WINDOW
    assert model.learning_strategy() is wanted_kind
    found, wanted = model.loss(inputs, targets), naive_loss(model, inputs, targets)
    close(found, wanted)
    all_close(gradients(found, model), gradients(wanted, model))


def test_far_enough_back_is_through_and_no_bound_changes_the_value() -> None:
    inputs, targets = stream()
    model = model_of(clauses("through", "through"))
    through = model.loss(inputs, targets)
    exact = gradients(through, model)
    for updates, segments, is_exact in ((7, 7, True), (6, 6, False), (1, 7, False), (7, 2, False)):
        model = model_of(clauses(f"truncated({updates})", f"truncated({updates})", f"truncated({segments})"))
        loss = model.loss(inputs, targets)
        close(loss, through)
        found = gradients(loss, model)
        assert differ(found, exact) is not is_exact, (updates, segments)


class Recorder:
    """Makes constants; played again, gives those of the first time."""

    def __init__(self) -> None:
        self.made: list[Tensor] = []
        self.played: Iterator[Tensor] | None = None

    def __call__(self, part: Tensor) -> Tensor:
        if self.played is not None:
            return next(self.played)
        self.made.append(part.detach().clone())
        return self.made[-1]


@pytest.mark.parametrize("case", ["updates one", "updates two, momentum", "one stops", "all differ"])
def test_equal_to_finite_differences_with_the_truncated_held_constant(case: str) -> None:
    model, (inputs, targets) = model_of(CASES[case]), stream(tokens=18)
    recorder = Recorder()
    naive_loss(model, inputs, targets, recorder)
    loss = model.loss(inputs, targets)
    found = gradients(loss, model)
    generator = torch.Generator().manual_seed(0)
    for weight, gradient in zip(model.parameters(), found, strict=True):
        direction = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.add_(direction, alpha=sign * 1e-5)
            recorder.played = iter(recorder.made)
            losses.append(naive_loss(model, inputs, targets, recorder).detach())
            with torch.no_grad():
                weight.sub_(direction, alpha=sign * 1e-5)
        torch.testing.assert_close(
            (gradient * direction).sum(), (losses[0] - losses[1]) / 2e-5, rtol=1e-5, atol=1e-8
        )


@pytest.mark.parametrize(
    ("case", "longest"), [("memories two", 2), ("memories four", 4), ("updates one", 4), ("all differ", 4)]
)
def test_graphs_that_no_loss_looks_back_to_are_freed(
    case: str, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs: list[weakref.ref] = []
    alive: list[int] = []
    segment = Learner.segment

    def noting(self: Learner, *arguments: object) -> object:
        alive.append(sum(graph() is not None for graph in graphs))
        result = segment(self, *arguments)
        graphs.append(weakref.ref(result[1]))
        return result

    monkeypatch.setattr(Learner, "segment", noting)
    model_of(CASES[case]).loss(*stream(tokens=60))
    assert max(alive) == longest


def test_without_a_gradient_the_value_is_the_same() -> None:
    model, (inputs, targets) = model_of(CASES["all differ"]), stream()
    with torch.no_grad():
        found = model.loss(inputs, targets)
    close(found, naive_loss(model, inputs, targets).detach())


@pytest.mark.slow
def test_compiled_equals_eager() -> None:
    eager = model_of(CASES["memories two"])
    model = build(eager.plan).double()
    found, wanted = (one.loss(*stream(tokens=16)) for one in (model, eager))
    close(found, wanted)
    all_close(gradients(found, model), gradients(wanted, eager))
