"""Every memory of the library goes on learning however long it reads: what it holds, and the gradients that
reach it, keep their sizes between the tenth token and the thousandth."""

from __future__ import annotations

import pytest
import torch

from nestdsl.runtime.module import NestModule
from nestdsl.runtime.step_levels import StepLevels
from tests.std.alive import (
    NEXT_TOKENS,
    built,
    library_blocks,
    measured,
    memories,
    outside,
    own_weights,
    text,
    text_and_noise,
)

EARLY, LATE, FACTOR = 10, 1000, 10.0
BLOCKS = library_blocks()
WITHOUT = {"transformer_layer"}
"""Blocks in which nothing learns while it reads, but attention."""


def changed(model: NestModule, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is not within a tenth and ten times of what it was early, on text or on noise."""
    found = []
    for kind, ids in text_and_noise(LATE + NEXT_TOKENS).items():
        early, late = (measured(model, ids, after, monkeypatch) for after in (EARLY, LATE))
        assert early.keys() == late.keys() and len(early) >= 2
        found += [f"{kind}: {line}" for line in outside(early, late, FACTOR)]
    return found


def trained(model: NestModule, steps: int) -> NestModule:
    """The model after a short training on text, at one rate after a short rise."""
    levels = StepLevels(model)
    ids = text(4 * steps, 65).unflatten(0, (4, steps))
    for number in range(1, steps + 1):
        batch = ids[:, number - 1]
        loss = model.loss(batch[:, :-1], batch[:, 1:])
        loss.backward()
        levels.step(number, min(1.0, number / 10), 1.0)
    return model


@pytest.mark.parametrize("block", sorted(BLOCKS.keys() - WITHOUT))
def test_at_the_start_of_training(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not changed(built(BLOCKS[block]), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("block", sorted(BLOCKS.keys() - WITHOUT))
def test_after_a_short_training(block: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not changed(trained(built(BLOCKS[block]), 50), monkeypatch)


@pytest.mark.parametrize("block", sorted(WITHOUT))
def test_the_others_have_no_memory(block: str) -> None:
    model = built(BLOCKS[block])
    assert not memories(model) and not own_weights(model)


DYING = """
model m {{
  input ids(256)
  flow h = in -> embedding(64)
  flow k = h -> linear -> l2_normalize(2)
  flow v = h -> linear -> l2_normalize(2)
  level memory = {kind}(2) {{
    every 1 token, chunk 16
    {clauses}
  }}
  flow out = h + (memory(k) -> rms_norm) -> linear(256)
}}
"""


@pytest.mark.parametrize(
    ("kind", "clauses", "wrong"),
    [
        # As `titans` was: where both layers have faded to zero, so have both gradients.
        (
            "associative",
            "learn k -> v  optimizer momentum(step = 0.01, retain = 0.98, momentum = 0.5)",
            {"memory.inner size", "memory.outer size", "memory.outer gradient", "memory values"},
        ),
        # Steps times squared lengths beyond two: each time that a key comes, its answer swings wider.
        (
            "matrix",
            "learn 2 * k -> v  optimizer gd(step = 1)",
            {"memory.matrix size", "memory.matrix gradient"},
        ),
        # It learns nothing and forgets where it started.
        (
            "matrix",
            "learn k -> v  optimizer gd(step = 0, retain = 0.98)  init learned",
            {"memory.matrix size"},
        ),
    ],
)
def test_what_dies_or_diverges_is_seen(
    kind: str, clauses: str, wrong: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = changed(built(DYING.format(kind=kind, clauses=clauses)), monkeypatch)
    assert wrong <= {line.split(": ")[1] for line in found}, found


def test_a_sum_is_measured_by_its_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(DYING.format(kind="matrix", clauses="learn k -> v  objective dot  optimizer gd(step = 1)"))
    ids = text(2, NEXT_TOKENS + 40)
    size = measured(model, ids, 40, monkeypatch)["memory.matrix size"]
    with torch.no_grad():
        _, state = model(ids[:, :40])
    assert size == pytest.approx(float(state["memory"]["matrix"].norm()) / 40)
