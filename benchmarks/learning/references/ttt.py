"""Test-time training layers (Sun et al. 2024, arXiv 2407.04620), rewritten: TTT-Linear and TTT-MLP."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.learning.references.frame import (
    Frame,
    heads_of,
    merged,
    rotated,
    start_normal,
)

MINIBATCH = 16

Weights = tuple[Tensor, ...]
"""W₁, b₁ of f(x) = x W₁ + b₁, or W₁, b₁, W₂, b₂ of f(x) = gelu(x W₁ + b₁) W₂ + b₂; [..., heads, in, out]."""


class Ttt(nn.Module):
    """Section 2 with the Mamba backbone (appendix A): queries and keys from one projection by a convolution
    each, turned by their place in the minibatch; a gate on what is read.

    The inner loss of a token is half of ‖LN(f(k)) + k - v‖², its step rate σ(θ x) / size of a head, and token
    t of a minibatch is read with 1 / t times the sum of the steps so far, a factor that is learned. `deep`
    takes two layers of 4 times the width, and the rate 0.1 instead of 1.
    """

    def __init__(self, size: int, heads: int, *, deep: bool) -> None:
        super().__init__()
        self.heads, head = heads, size // heads
        self.rate = (0.1 if deep else 1.0) / head
        self.shared, self.value, self.gate, self.out = (nn.Linear(size, size, bias=False) for _ in range(4))
        self.query, self.key = (nn.Conv1d(size, size, 4, groups=size, padding=3) for _ in range(2))
        self.step = nn.Linear(size, heads)
        self.place = nn.Parameter(torch.zeros(MINIBATCH))
        self.norm_weight = nn.Parameter(torch.ones(heads, 1, head))
        self.norm_bias = nn.Parameter(torch.zeros(heads, 1, head))
        sizes = ((head, 4 * head), (4 * head, head)) if deep else ((head, head),)
        self.weights = nn.ParameterList(
            part
            for rows, columns in sizes
            for part in (0.02 * torch.randn(heads, rows, columns), torch.zeros(heads, 1, columns))
        )
        self.after = nn.LayerNorm(size, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.shape[1]
        if tokens % MINIBATCH:
            raise ValueError(f"{tokens} tokens are no whole number of minibatches of {MINIBATCH}")
        shared = self.shared(x).transpose(1, 2)
        places = torch.arange(tokens) % MINIBATCH
        query, key = (
            rotated(heads_of(part(shared)[..., :tokens].transpose(1, 2), self.heads), places)
            for part in (self.query, self.key)
        )
        value = heads_of(self.value(x), self.heads)
        step = self.rate * self.step(x).sigmoid().transpose(1, 2)
        factor = (1 / torch.arange(1, MINIBATCH + 1) + self.place).clamp(min=0)
        weights = tuple(part.expand(len(x), *part.shape) for part in self.weights)
        read, norm = [], (self.norm_weight, self.norm_bias)
        for q, k, v, eta in zip(
            query.split(MINIBATCH, 2),
            key.split(MINIBATCH, 2),
            value.split(MINIBATCH, 2),
            step.split(MINIBATCH, 2),
            strict=True,
        ):
            answer, weights = minibatch(q, k, v, factor.unsqueeze(1) * eta.unsqueeze(-2), weights, norm)
            read.append(q + answer)
        answers = self.after(merged(torch.cat(read, 2)))
        return self.out(F.gelu(self.gate(x), approximate="tanh") * answers)


def minibatch(
    query: Tensor, key: Tensor, value: Tensor, eta: Tensor, weights: Weights, norm: tuple[Tensor, Tensor]
) -> tuple[Tensor, Weights]:
    """The dual form: LN(f_t(q_t)) for all tokens of a minibatch, and the weights after it.

    query, key, value: [batch, heads, tokens, size]; eta: [batch, heads, tokens, tokens], at t, i how far
    token i moves the weights that token t reads. All gradients are taken at the start of the minibatch.
    """
    eta = eta.tril()
    inputs, gradients = _gradients(key, value - key, weights, norm)
    last = eta[:, :, -1, :, None]
    moved: list[Tensor] = []
    flow = query
    for layer, (x, gradient) in enumerate(zip(inputs, gradients, strict=True)):
        weight, bias = weights[2 * layer : 2 * layer + 2]
        change = (eta * (flow @ x.transpose(-1, -2))).tril() @ gradient + eta @ gradient
        flow = flow @ weight + bias - change
        if layer < len(inputs) - 1:
            flow = F.gelu(flow, approximate="tanh")
        moved += [
            weight - (last * x).transpose(-1, -2) @ gradient,
            bias - (last * gradient).sum(-2, keepdim=True),
        ]
    return _normalized(flow, norm), tuple(moved)


def _gradients(
    key: Tensor, target: Tensor, weights: Weights, norm: tuple[Tensor, Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """What each layer is given, and the gradient of ½‖LN(f(k)) - target‖² at what it makes, per token."""
    if len(weights) == 2:
        weight, bias = weights
        return [key], [_norm_gradient(key @ weight + bias, target, norm)]
    first, first_bias, second, second_bias = weights
    made = key @ first + first_bias
    hidden = F.gelu(made, approximate="tanh")
    outer = _norm_gradient(hidden @ second + second_bias, target, norm)
    return [key, hidden], [outer @ second.transpose(-1, -2) * _gelu_slope(made), outer]


def _normalized(x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
    return norm[0] * F.layer_norm(x, x.shape[-1:], eps=1e-6) + norm[1]


def _norm_gradient(x: Tensor, target: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
    """The gradient of ½‖LN(x) - target‖² at x, written out so that the outer levels see through it."""
    deviation = (x.var(-1, keepdim=True, unbiased=False) + 1e-6).sqrt()
    unit = (x - x.mean(-1, keepdim=True)) / deviation
    arriving = (norm[0] * unit + norm[1] - target) * norm[0]
    along = unit * (arriving * unit).mean(-1, keepdim=True)
    return (arriving - arriving.mean(-1, keepdim=True) - along) / deviation


def _gelu_slope(x: Tensor) -> Tensor:
    """The derivative of gelu in its tanh form."""
    scale = math.sqrt(2 / math.pi)
    bent = torch.tanh(scale * (x + 0.044715 * x**3))
    return 0.5 * (1 + bent) + 0.5 * x * (1 - bent**2) * scale * (1 + 3 * 0.044715 * x**2)


def ttt_linear(vocabulary: int, size: int, heads: int, layers: int, hidden: int) -> nn.Module:
    """As ttt-lm-pytorch builds it, its convolutions with torch's start."""
    return _model(vocabulary, size, heads, layers, hidden, deep=False)


def ttt_mlp(vocabulary: int, size: int, heads: int, layers: int, hidden: int) -> nn.Module:
    return _model(vocabulary, size, heads, layers, hidden, deep=True)


def _model(vocabulary: int, size: int, heads: int, layers: int, hidden: int, *, deep: bool) -> nn.Module:
    model = Frame(vocabulary, size, layers, hidden, lambda: Ttt(size, heads, deep=deep))
    start_normal(model, convolutions=False)
    return model
