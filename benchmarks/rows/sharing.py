"""A self-referential layer of linear memories, with and without the sharing that the compiler finds."""

from __future__ import annotations

from benchmarks.model import Claim, Contender, Row, Work
from benchmarks.programs import program
from benchmarks.training import random_vectors, there_and_back

_OURS, _APART = "nestdsl", "nestdsl, sharing off"


def contenders(quick: bool) -> tuple[Contender, ...]:
    """The same program, the same weights, forward and backward over the same vectors, both compiled: five
    memories that share key, step and retention, 4 heads of 64, chunk 32; 2048 tokens, batch 4, d 256.
    Switched off, each memory is worked on by itself."""
    batch, tokens, size = (1, 70, 32) if quick else (4, 2048, 256)
    x = random_vectors(batch, tokens, size)

    def prepared(sharing: bool) -> Work:
        nest = program("self_referential", dim=size, chunk=32)
        model = nest.compile(sharing=sharing)
        return there_and_back(lambda flow: model(flow)[0], list(model.parameters()), x)

    return (
        Contender(_OURS, lambda: prepared(True)),
        Contender(_APART, lambda: prepared(False)),
    )


ROW = Row(
    "sharing",
    "self-referential layer, linear memories, 2048 tokens, d 256",
    (Claim(_OURS, _APART, at_least=1.8),),
    contenders,
    {},
)
