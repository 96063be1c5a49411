"""`embedding`: a table of one vector for each id."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestdsl.runtime.kinds.weights import Start, initialize, normal


class Embedding(nn.Module):
    """ids `[batch, tokens]` (whole numbers below `input_size`) -> `[batch, tokens, output_size]`.

    init learned: normal with deviation 1, so that what blocks add to a residual stream, of deviation
    about 1 too, does not drown the token. (Byte models of two pre-norm layers learned faster so
    than from deviation 0.02 or 1 / sqrt(output_size), at learning rates of 1e-3 and 3e-3.)
    """

    kind = "embedding"
    is_one_product = True

    def __init__(self, input_size: int, output_size: int, *, dim: int, init: Start | str = "learned") -> None:
        super().__init__()
        if dim != output_size:
            raise ValueError(f"dim = {dim} is not the output size {output_size}")
        self.weight = nn.Parameter(torch.empty(input_size, output_size))
        initialize(self.weight, Start.of(init), normal(1.0))

    def forward(self, ids: Tensor) -> Tensor:
        return F.embedding(ids, self.weight)
