"""The fast update is the naive one, for every kind of line and memory, packed, by itself and compiled."""

from __future__ import annotations

import pytest
from torch.testing import assert_close

from nestdsl.graph.optimizer import chain
from nestdsl.plan.optimizer_state import state_numbers
from nestdsl.runtime.optimizer import fast, packs
from nestdsl.runtime.optimizer.memories import initial_state
from tests.runtime.optimizer.programs import PROGRAMS, is_matrix, program, run_fast, run_naive, start


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("packed", [True, False])
def test_fast_is_naive(name: str, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not packed:
        monkeypatch.setattr(packs, "_SMALL", 0)
    weights, gradients = start(steps=18)
    one = program(name)
    assert_close(
        run_fast(one, weights, gradients), run_naive(one, weights, gradients), rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_kept_is_what_the_plan_counts(name: str) -> None:
    outer = program(name)
    for weight in start()[0]:
        inner = chain(outer, is_matrix=is_matrix(weight))[-1]
        kept = sum(part.numel() for part in initial_state(inner, weight).values())
        assert kept == state_numbers(outer, (("weight", tuple(weight.shape)),), matrices=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["three", "m3", "deep"])
def test_compiled_is_naive(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "_WORTH_COMPILING", 0)
    weights, gradients = start(steps=8)
    chosen = (0, 1, 7)  # each further kind of shape is another graph
    weights = [weights[index] for index in chosen]
    gradients = [[step[index] for index in chosen] for step in gradients]
    one = program(name)
    assert_close(
        run_fast(one, weights, gradients, compile=True),
        run_naive(one, weights, gradients),
        rtol=1e-11,
        atol=1e-11,
    )
