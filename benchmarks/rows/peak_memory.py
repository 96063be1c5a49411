"""Peak memory of a training step, which must not grow with the sequence."""

from __future__ import annotations

from benchmarks.model import Claim, Contender, Row
from benchmarks.programs import program
from benchmarks.training import program_step

_SHORT, _LONG = "nestdsl, HOPE, 4,096 tokens", "nestdsl, HOPE, 65,536 tokens"


def contenders(quick: bool) -> tuple[Contender, ...]:
    """The most memory that a fresh process held, in all, weights and torch included, while it made one
    training step on one sequence: HOPE as in `hope_transformer`, levels at 256 to 2048 tokens, memories
    `truncated(1)`; two layers, because 65,536 tokens take their time, and what grows with the length shows
    the more."""
    size, depth, period = (32, 1, 16) if quick else (256, 2, 256)
    short, long = (64, 256) if quick else (4096, 65_536)
    nest = program("hope", dim=size, depth=depth, chunk=16 if quick else 64, period=period, ratio=2)
    return (
        Contender(_SHORT, program_step(nest, 1, short)),
        Contender(_LONG, program_step(nest, 1, long)),
    )


ROW = Row(
    "peak_memory",
    "peak training memory, batch 1",
    (Claim(_LONG, _SHORT, at_most=1.2, measured="memory"),),
    contenders,
    {},
    isolated=True,
)
