"""Training steps of HOPE against a transformer of the same depth and number of parameters."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.model import Claim, Contender, Row
from benchmarks.programs import program
from benchmarks.training import VOCABULARY, module_step, program_step
from benchmarks.transformer import equal_transformer

_OURS, _THEIRS = "nestdsl, HOPE", "transformer, compiled"


def _contenders(batch: int, tokens: int) -> Callable[[bool], tuple[Contender, ...]]:
    def contenders(quick: bool) -> tuple[Contender, ...]:
        size, depth = (32, 1) if quick else (256, 4)
        length, period = (128, 16) if quick else (tokens, 256)
        nest = program("hope", dim=size, depth=depth, chunk=16 if quick else 64, period=period, ratio=2)
        parameters = nest.plan.costs.parameters

        def transformer():
            return equal_transformer(parameters, VOCABULARY, size, depth, heads=4)

        return (
            Contender(_OURS, program_step(nest, batch, length)),
            Contender(_THEIRS, module_step(transformer, batch, length)),
        )

    contenders.__doc__ = (
        f"A whole training step on {batch} sequence{'s' * (batch > 1)} of {tokens} tokens, AdamW outside.\n"
        "HOPE with linear self-referential memories and four levels that learn in context at 256, 512, 1024\n"
        "and 2048 tokens; a transformer in plain PyTorch, its block compiled once, with as many parameters\n"
        "in wider MLPs; 4 layers, d 256 both."
    )
    return contenders


ROWS = (
    Row(
        "hope_transformer",
        "HOPE, CMS at 256 to 2048 tokens, 2048 tokens, training step",
        (Claim(_OURS, _THEIRS, at_least=0.9),),
        _contenders(4, 2048),
        {},
        repeats=3,
    ),
    Row(
        "hope_transformer_long",
        "the same, 8192 tokens, batch 1",
        (Claim(_OURS, _THEIRS, at_least=2),),
        _contenders(1, 8192),
        {},
        repeats=3,
    ),
)
