"""`rms_norm`: each head's part is normalised by itself, each feature has its own weight."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nestdsl.runtime.functions import at_least_float32, split_heads
from nestdsl.runtime.kinds.weights import require_division, require_same_size


class RmsNorm(nn.Module):
    """y = weight * x / sqrt(mean x^2 + eps), `[batch, tokens, size]` to the same.

    The mean is taken in at least float32; weights start at one.
    """

    kind = "rms_norm"
    keeps_precision = True

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        heads: int = 1,
        eps: float = 1e-6,
    ) -> None:
        super().__init__()
        require_same_size(input_size, output_size)
        require_division(input_size, heads)
        self.heads = heads
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(output_size))

    def forward(self, x: Tensor) -> Tensor:
        parts = split_heads(at_least_float32(x), self.heads)
        mean_square = parts.square().mean(-1, keepdim=True)
        normalized = (parts * torch.rsqrt(mean_square + self.eps)).flatten(-2)
        return (normalized * self.weight).to(x.dtype)
