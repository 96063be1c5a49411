"""Retention (Sun et al. 2023, RetNet, arXiv 2307.08621, equations 5 to 8), rewritten."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.learning.references.frame import Frame, heads_of, merged, rotated


class Retention(nn.Module):
    """Keys and queries turned by their position, a fixed decay for each head, values twice as wide, a norm
    for each head and a swish gate. Starts as in torchscale: Xavier with gain 2^-2.5, out 2^-1."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (size // heads) ** -0.5
        self.query, self.key = (nn.Linear(size, size, bias=False) for _ in range(2))
        self.value, self.gate = (nn.Linear(size, 2 * size, bias=False) for _ in range(2))
        self.out = nn.Linear(2 * size, size, bias=False)
        self.norm = nn.RMSNorm(2 * size // heads, elementwise_affine=False, eps=1e-6)
        for part in (self.query, self.key, self.value, self.gate):
            nn.init.xavier_uniform_(part.weight, gain=2**-2.5)
        nn.init.xavier_uniform_(self.out.weight, gain=2**-1)

    def forward(self, x: Tensor) -> Tensor:
        positions = torch.arange(x.shape[1])
        query, key = (rotated(heads_of(part(x), self.heads), positions) for part in (self.query, self.key))
        read = retained(query, self.scale * key, heads_of(self.value(x), self.heads), decays(self.heads))
        return self.out(F.silu(self.gate(x)) * merged(self.norm(read)))


def decays(heads: int) -> Tensor:
    """γ of each head, 1 - 2^(-5 - h): [heads]."""
    return 1 - 2.0 ** (-5 - torch.arange(heads))


def retained(query: Tensor, key: Tensor, value: Tensor, decay: Tensor) -> Tensor:
    """The parallel form: y_t = Σ γ^(t - i) (q_tᵀ k_i) v_i, i up to t; all [batch, heads, tokens, size]."""
    places = torch.arange(query.shape[-2])
    apart = (places.unsqueeze(1) - places).clamp(min=0)
    weights = (query @ key.transpose(-1, -2) * decay[:, None, None] ** apart).tril()
    return weights @ value


def retained_recurrently(query: Tensor, key: Tensor, value: Tensor, decay: Tensor) -> Tensor:
    """The same token by token: S_t = γ S_{t-1} + k_t v_tᵀ, y_t = S_tᵀ q_t."""
    state, outputs = query.new_zeros(()), []
    for q, k, v in zip(query.unbind(-2), key.unbind(-2), value.unbind(-2), strict=True):
        state = decay[:, None, None] * state + k.unsqueeze(-1) * v.unsqueeze(-2)
        outputs.append((q.unsqueeze(-2) @ state).squeeze(-2))
    return torch.stack(outputs, -2)


def retention(vocabulary: int, size: int, heads: int, layers: int, hidden: int) -> nn.Module:
    """As torchscale builds it: the embedding has deviation 1, after its factor √size."""
    model = Frame(vocabulary, size, layers, hidden, lambda: Retention(size, heads))
    nn.init.normal_(model.head.weight, std=1 / math.sqrt(size))
    return model
