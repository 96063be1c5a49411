"""`linear`: a matrix and a bias."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestdsl.runtime.kinds.weights import Start, initialize, normal

Product = Callable[[str, Tensor], Tensor]
"""What stands in for a `Linear` of a kind: (its name within the kind, its input) -> its output."""


class Linear(nn.Module):
    """y = W x + b: `[batch, tokens, input_size]` -> `[batch, tokens, output_size]`.

    init learned: W normal with deviation 1 / sqrt(input_size), so that features of deviation 1
    stay so. The bias always begins at zero.
    """

    kind = "linear"
    keeps_precision = True
    is_one_product = True

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        out: int | None = None,
        bias: bool = True,
        init: Start | str = "learned",
    ) -> None:
        super().__init__()
        if out is not None and out != output_size:
            raise ValueError(f"out = {out} is not the output size {output_size}")
        self.weight = nn.Parameter(torch.empty(output_size, input_size))
        self.bias = nn.Parameter(torch.zeros(output_size)) if bias else None
        initialize(self.weight, Start.of(init), normal(input_size**-0.5))

    def forward(self, x: Tensor) -> Tensor:
        kind = torch.promote_types(x.dtype, self.weight.dtype)  # an input of higher precision keeps it
        return F.linear(x, self.weight.to(kind), None if self.bias is None else self.bias.to(kind))

    def through(self, x: Tensor, product: Product) -> Tensor:
        """The same with `product` in place of the matrix and the bias."""
        return product("", x)
