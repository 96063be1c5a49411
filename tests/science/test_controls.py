"""Memories matter, and levels that learn in context are worth more than the same levels at rest.

Slow: each trains small models on the Python source of this machine. docs/results.md has larger runs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import nestdsl
from nestdsl.training.data import read_data
from nestdsl.training.text import ByteData
from tests.science.controls import by_context, held_out, trained

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = {"dim": 64, "depth": 1}


@pytest.fixture(scope="module")
def data() -> ByteData:
    data = read_data("stdlib")
    assert isinstance(data, ByteData)
    return data


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gated_delta", "titans"])
def test_what_a_memory_has_read_helps_and_what_it_has_not_read_does_not(name: str, data: ByteData) -> None:
    model = nestdsl.load(EXAMPLES / f"{name}.nest", **SMALL).compile(compile=False)
    found = by_context(trained(model, data, 200, 8, 256), data, 64, 512)
    print(name, found)
    assert found["intact"] < min(found["shuffled"], found["other"], found["none"]) - 0.01


@pytest.mark.slow
def test_levels_that_learn_in_context_beat_the_same_levels_at_rest(data: ByteData) -> None:
    bits = {}
    for step in (0.0, 0.3):
        nest = nestdsl.load(EXAMPLES / "hope_attention.nest", **SMALL, period=32, step=step)
        bits[step] = held_out(trained(nest.compile(compile=False), data, 60, 4, 256), data, 32, 256)
    print(bits)
    assert bits[0.3] < bits[0.0] - 0.05
