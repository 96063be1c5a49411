"""What was read matters to what comes, and levels that learn in context are worth more than at rest.

Slow: each trains small models on the Python source of this machine. docs/results.md has larger runs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import nestdsl
from nestdsl.runtime.module import NestModule
from nestdsl.training.data.sources import read_data
from nestdsl.training.data.text import ByteData
from tests.science.controls import by_context, held_out, trained

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def data() -> ByteData:
    data = read_data("stdlib")
    assert isinstance(data, ByteData)
    return data


def small(name: str, **parameters: int | float) -> NestModule:
    return nestdsl.load(EXAMPLES / f"{name}.nest", dim=64, depth=1, **parameters).compile(compile=False)


@pytest.mark.slow
def test_what_a_memory_has_read_helps_and_other_contexts_do_not(data: ByteData) -> None:
    model = trained(small("gated_delta"), data, 300, 8, 256)
    found = by_context(model, data, 128, 256, scored=16, last_tokens=8)
    assert found["intact"] < min(found["shuffled"], found["other"], found["none"]) - 0.003, found


@pytest.mark.slow
def test_what_levels_have_learned_in_context_helps_and_other_contexts_do_not(data: ByteData) -> None:
    at_rest, learning = (small("hope_attention", period=32, step=step) for step in (0.0, 0.3))
    bits = [held_out(trained(model, data, 60, 4, 256), data, 32, 256) for model in (at_rest, learning)]
    assert bits[1] < bits[0] - 0.05, bits
    found = by_context(learning, data, 64, 256, scored=64, last_tokens=32, learn=True)
    assert found["intact"] < min(found["shuffled"], found["other"], found["none"]) - 0.02, found
