"""Memory and MLP against attention and MLP."""

from __future__ import annotations

from benchmarks.compiling import compiled
from benchmarks.model import Claim, Contender, Row, Work
from benchmarks.programs import program
from benchmarks.training import program_there_and_back, random_vectors, there_and_back
from benchmarks.transformer import Transformer

_OURS, _THEIRS = "nestdsl, gated delta", "transformer block, compiled"


def contenders(quick: bool) -> tuple[Contender, ...]:
    """Forward and backward of one residual block with a 4× MLP over 2048 tokens, batch 4, d 256, 4 heads:
    ours with std's gated_delta (convolution, projections, memory, gate, norm), theirs with rotary attention,
    which uses torch's fused kernel. Both compiled as one graph, and no window: the transformer sees all 2048
    tokens."""
    batch, tokens, size = (1, 70, 32) if quick else (4, 2048, 256)
    x = random_vectors(batch, tokens, size)

    def theirs() -> Work:
        model = Transformer(1, size, 1, heads=4, hidden=4 * size)
        block, angles = model.blocks[0], model.angles(0, tokens)
        run = compiled(type(block).forward)
        return there_and_back(lambda flow: run(block, flow, angles), list(block.parameters()), x)

    return (
        Contender(_OURS, program_there_and_back(program("block", dim=size), x)),
        Contender(_THEIRS, theirs),
    )


ROW = Row(
    "block",
    "memory and 4× MLP block, 2048 tokens, d 256",
    (Claim(_OURS, _THEIRS, at_least=1.3),),
    contenders,
    {},
    repeats=9,
)
