"""Linear attention (Katharopoulos et al. 2020, arXiv 2006.16236, equations 7 to 12), rewritten."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.learning.references.frame import Frame, heads_of, merged


class LinearAttention(nn.Module):
    """y_t = φ(q_t)ᵀ Σ φ(k_i) v_iᵀ / φ(q_t)ᵀ Σ φ(k_i), i up to t, with φ(x) = elu(x) + 1."""

    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(size, size) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        query, key = (F.elu(heads_of(part(x), self.heads)) + 1 for part in (self.query, self.key))
        return self.out(merged(causal_average(query, key, heads_of(self.value(x), self.heads))))


def causal_average(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The averages of values [..., tokens, size], weighted by φ(q_t)ᵀ φ(k_i) for i up to t."""
    weights = (query @ key.transpose(-1, -2)).tril()
    return weights @ value / (weights.sum(-1, keepdim=True) + 1e-6)


def linear_attention(vocabulary: int, size: int, heads: int, layers: int, hidden: int) -> nn.Module:
    """As fast-transformers builds it: torch's own starts, GELU, and sines for positions."""
    return Frame(
        vocabulary, size, layers, hidden, lambda: LinearAttention(size, heads), glu=False, positions=True
    )
