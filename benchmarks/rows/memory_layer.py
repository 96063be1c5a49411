"""A memory with its projections against titans-pytorch's NeuralMemory."""

from __future__ import annotations

from benchmarks.model import Claim, Contender, Row, Work
from benchmarks.programs import program
from benchmarks.training import program_there_and_back, random_vectors, there_and_back

_DEFAULT, _PLAIN = "titans-pytorch, default", "titans-pytorch, no momentum"
_LINEAR, _DEEP, _MOMENTUM = "nestdsl, linear", "nestdsl, two-layer", "nestdsl, two-layer, momentum"


def contenders(quick: bool) -> tuple[Contender, ...]:
    """Forward and backward of one layer to its weights and its input: key, value and query projections,
    memory, output projection; 4 heads of 64, chunk 64, 2048 tokens, batch 4, d 256. Its two-layer memory has
    the hidden size 256 for each head (its default, 4×), and so has ours. Its rule differs in ways that cost
    it nothing: decay and step once in a chunk, where ours takes them token by token. It runs as it is:
    torch.compile breaks its graph, and makes it slower."""
    batch, tokens, size, chunk = (1, 48, 32, 16) if quick else (4, 2048, 256, 64)
    heads, x = 4, random_vectors(batch, tokens, size)
    hidden = 4 * size // heads

    def theirs(momentum: bool) -> Work:
        from titans_pytorch import NeuralMemory

        memory = NeuralMemory(
            dim=size, dim_head=size // heads, heads=heads, chunk_size=chunk, momentum=momentum
        )
        return there_and_back(lambda flow: memory(flow)[0], list(memory.parameters()), x)

    def ours(name: str) -> Contender:
        model = {_LINEAR: "linear_layer", _DEEP: "deep_layer", _MOMENTUM: "momentum_layer"}[name]
        nest = program("memory_layer", model, dim=size, chunk=chunk, hidden=hidden)
        return Contender(name, program_there_and_back(nest, x))

    return (
        Contender(_DEFAULT, lambda: theirs(True)),
        Contender(_PLAIN, lambda: theirs(False)),
        *map(ours, (_LINEAR, _DEEP, _MOMENTUM)),
    )


ROWS = (
    Row(
        "memory_layer",
        "memory layer with projections, d 256, chunk 64",
        (
            Claim(_LINEAR, _DEFAULT, at_least=4),
            Claim(_DEEP, _PLAIN, at_least=1.3),
            Claim(_MOMENTUM, _DEFAULT, at_least=1.8),
        ),
        contenders,
        {_DEFAULT: "titans_pytorch", _PLAIN: "titans_pytorch"},
        repeats=5,
    ),
)
