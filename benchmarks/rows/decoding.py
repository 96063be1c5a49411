"""Decoding one token after long texts."""

from __future__ import annotations

import torch

from benchmarks.model import Claim, Contender, Row, Work
from benchmarks.programs import program
from benchmarks.training import VOCABULARY, random_ids
from benchmarks.transformer import equal_transformer

_EARLY, _LATE = "nestdsl, HOPE at 1,024", "nestdsl, HOPE at 65,536"
_THEIRS = "transformer at 4,096"
_RUNS = 20
"""Tokens of one timed run: a single one is too short for a clock."""


def contenders(quick: bool) -> tuple[Contender, ...]:
    """Time of 20 tokens one after the other, batch 1: HOPE (4 layers, d 256, levels at 256 to 2048 tokens)
    with the state that reading 1,024 or 65,536 tokens left, carried in segments of 1,024; the transformer of
    as many parameters with a key-value cache of 4,096 tokens, allocated beforehand, its block compiled. Peak
    memory is what the run takes beyond the model and its state."""
    size, depth = (32, 1) if quick else (256, 4)
    early, late, cached = (32, 64, 32) if quick else (1024, 65_536, 4096)
    segment = 16 if quick else 1024
    nest = program("hope", dim=size, depth=depth, chunk=16 if quick else 64, period=256, ratio=2)

    def ours(position: int) -> Work:
        model = nest.compile()
        ids, _ = random_ids(1, position)
        with torch.inference_mode():
            _, state = model(ids[:, :segment])
            for begin in range(segment, position, segment):
                _, state = model(ids[:, begin : begin + segment], state)

        def run() -> None:
            with torch.inference_mode():
                following = state
                for _ in range(_RUNS):
                    _, following = model(ids[:, :1], following)

        return run

    def theirs() -> Work:
        model = equal_transformer(nest.plan.costs.parameters, VOCABULARY, size, depth, heads=4)
        ids, _ = random_ids(1, 1)
        shape = (1, 4, cached + 1, size // 4)
        caches = [(torch.randn(shape), torch.randn(shape)) for _ in range(depth)]

        def run() -> None:
            with torch.inference_mode():
                for _ in range(_RUNS):
                    model.decode(ids, caches, cached)

        return run

    return (
        Contender(_EARLY, lambda: ours(early)),
        Contender(_LATE, lambda: ours(late)),
        Contender(_THEIRS, theirs),
    )


ROW = Row(
    "decoding",
    f"decoding {_RUNS} tokens",
    (
        Claim(_LATE, _EARLY, at_most=1.1),
        Claim(_LATE, _THEIRS, at_least=1),
    ),
    contenders,
    {},
    repeats=15,
)
