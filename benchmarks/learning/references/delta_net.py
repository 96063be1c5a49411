"""DeltaNet (Yang et al. 2024, arXiv 2406.06484), rewritten after the layer of flash-linear-attention."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.learning.references.frame import (
    Frame,
    ShortConvolution,
    heads_of,
    merged,
    start_normal,
)


class DeltaNet(nn.Module):
    """Project, convolve, SiLU; keys and queries of length 1, a step for each head, a norm for each head."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(size, size, bias=False) for _ in range(4))
        self.short = nn.ModuleList(ShortConvolution(size) for _ in range(3))
        self.step = nn.Linear(size, heads, bias=False)
        self.norm = nn.RMSNorm(size // heads, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        projections = (self.query, self.key, self.value)
        query, key, value = (
            heads_of(short(part(x)), self.heads) for short, part in zip(self.short, projections, strict=True)
        )
        step = self.step(x).sigmoid().transpose(1, 2)
        query = F.normalize(query, dim=-1) * query.shape[-1] ** -0.5
        return self.out(merged(self.norm(delta_rule(query, F.normalize(key, dim=-1), value, step))))


def delta_rule(query: Tensor, key: Tensor, value: Tensor, step: Tensor) -> Tensor:
    """S_t = S_{t-1} + β_t k_t (v_t - S_{t-1}ᵀ k_t)ᵀ, y_t = S_tᵀ q_t, from S = 0, for all tokens at once.

    query, key, value: [batch, heads, tokens, size]; step: [batch, heads, tokens]. What each token writes is
    the solution u of (1 + tril(β k kᵀ, -1)) u = β v (section 3.2).
    """
    step = step.unsqueeze(-1)
    earlier = (step * key @ key.transpose(-1, -2)).tril(-1)
    written = torch.linalg.solve_triangular(earlier, step * value, upper=False, unitriangular=True)
    return (query @ key.transpose(-1, -2)).tril() @ written


def delta_rule_recurrently(query: Tensor, key: Tensor, value: Tensor, step: Tensor) -> Tensor:
    """The same token by token, as the equation has it."""
    batch, heads, _, size = key.shape
    state, outputs = key.new_zeros(batch, heads, size, value.shape[-1]), []
    for t in range(key.shape[-2]):
        k, v, beta = key[:, :, t], value[:, :, t], step[:, :, t, None]
        error = v - (k.unsqueeze(-2) @ state).squeeze(-2)
        state = state + (beta * k).unsqueeze(-1) * error.unsqueeze(-2)
        outputs.append((query[:, :, t].unsqueeze(-2) @ state).squeeze(-2))
    return torch.stack(outputs, -2)


def delta_net(vocabulary: int, size: int, heads: int, layers: int, hidden: int) -> nn.Module:
    """As flash-linear-attention builds it."""
    model = Frame(vocabulary, size, layers, hidden, lambda: DeltaNet(size, heads))
    start_normal(model)
    return model
