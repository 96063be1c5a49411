"""The fast update is the naive one, for every kind of line and memory, stacked, by itself and compiled."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from nestdsl.graph.optimizer import chain
from nestdsl.plan.optimizer_state import state_numbers
from nestdsl.runtime.optimizer import groups
from nestdsl.runtime.optimizer.constants import parameters_at
from nestdsl.runtime.optimizer.fast import FastOptimizer
from nestdsl.runtime.optimizer.memories import initial_state
from tests.runtime.optimizer.programs import PROGRAMS, is_matrix, program, run_fast, run_naive, start

SLOW_TO_COMPILE = {"three", "nested", "late", "deep"}
"""Programs with many kinds of updates."""


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("stacked", [True, False])
def test_fast_is_naive(name: str, stacked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not stacked:
        monkeypatch.setattr(groups, "_STACKED", 0)
    weights, gradients = start(steps=18)
    one = program(name)
    assert_close(
        run_fast(one, weights, gradients), run_naive(one, weights, gradients), rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in SLOW_TO_COMPILE else name for name in PROGRAMS],
)
def test_compiled_is_naive(name: str) -> None:
    weights, gradients = start(steps=9)
    one = program(name)
    assert_close(
        run_fast(one, weights, gradients, compile=True),
        run_naive(one, weights, gradients),
        rtol=1e-11,
        atol=1e-11,
    )


@pytest.mark.parametrize("name", ["adam", "m3", "delta"])
def test_weights_without_a_gradient_wait(name: str) -> None:
    """Each weight is moved as if it were alone, whichever of those like it have a gradient."""
    generator = torch.Generator().manual_seed(2)

    def draw() -> Tensor:
        return torch.randn(6, 4, generator=generator, dtype=torch.float64)

    weights = [draw() for _ in range(3)]
    gradients = [[draw() if (step + index) % 3 else None for index in range(3)] for step in range(9)]
    one = program(name)
    expected = []
    for index, weight in enumerate(weights):
        own = [[gradient[index]] for gradient in gradients if gradient[index] is not None]
        expected += run_naive(one, [weight], own)
    (programs,) = [chain(one, is_matrix=True)]
    fast = FastOptimizer(programs[-1], weights, compile=False)
    for step in gradients:
        for weight, gradient in zip(weights, step, strict=True):
            weight.grad = gradient
        fast.step(lambda count: parameters_at(programs, {}, count))
    assert_close(weights, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("compile", [False, True])
def test_layouts_of_memory(compile: bool) -> None:
    """Weights and gradients that are transposed, expanded or parts of others move as any do."""
    generator = torch.Generator().manual_seed(3)
    base = torch.randn(6, 8, generator=generator, dtype=torch.float64)
    weights = [base.clone().T, base.clone()[:, ::2], base.clone()]
    gradients = [torch.randn(8, 6, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64).expand(6, 4)]
    gradients.append(torch.randn(8, 6, dtype=torch.float64).T)
    one = program("adam")
    expected = run_naive(one, weights, [gradients] * 3)
    fast = FastOptimizer(one, weights, compile=compile)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    for _ in range(3):
        fast.step(lambda count: parameters_at((one,), {}, count))
    assert_close(weights, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_kept_is_what_the_plan_counts(name: str) -> None:
    outer = program(name)
    for weight in start()[0]:
        inner = chain(outer, is_matrix=is_matrix(weight))[-1]
        kept = sum(part.numel() for part in initial_state(inner, weight).values())
        assert kept == state_numbers(outer, (("weight", tuple(weight.shape)),), matrices=True)
