"""`low_rank`: a residual map of low rank."""

from __future__ import annotations

from torch import Tensor, nn

from nestdsl.runtime.kinds.linear import Linear, Product
from nestdsl.runtime.kinds.weights import Start, normal, require_same_size
from nestdsl.vocabulary.starts import MEMORY_DEVIATION


class LowRank(nn.Module):
    """y = x + B A x: `[batch, tokens, size]` to the same; A: `down.weight` [rank, size], B: `up.weight`
    [size, rank].

    init learned: A as `Linear`'s matrix, B normal with deviation 0.02: the map starts near the identity,
    and both get a gradient. init zeros and identity make B zero, as LoRA does (Hu et al., 2022); scaled
    scales it.
    """

    kind = "low_rank"
    keeps_precision = True

    def __init__(
        self, input_size: int, output_size: int, *, rank: int, init: Start | str = "learned"
    ) -> None:
        super().__init__()
        require_same_size(input_size, output_size)
        start = Start.of(init)
        self.down = Linear(input_size, rank, bias=False, init=start.of_first())
        last = start.of_last().where_learned_is(normal(MEMORY_DEVIATION))
        self.up = Linear(rank, output_size, bias=False, init=last)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.up(self.down(x))

    def through(self, x: Tensor, product: Product) -> Tensor:
        """The same with `product` in place of A and B."""
        return x + product("up", product("down", x))
