"""The model around a mixer: embedding, blocks of mixer and MLP on a normalised residual stream, head."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Mixer = Callable[[], nn.Module]
"""Makes a module of flows [batch, tokens, size] to the same."""


class SwiGLU(nn.Module):
    """down(silu(gate x) · up x), as in Llama and the models of flash-linear-attention, RetNet and TTT."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.gate, self.up = (nn.Linear(size, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Mlp(nn.Module):
    """down(gelu(up x)), with biases."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(size, hidden), nn.Linear(hidden, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    """x + mixer(norm x), then + mlp(norm x)."""

    def __init__(self, size: int, mixer: Mixer, mlp: nn.Module) -> None:
        super().__init__()
        self.before_mixer, self.before_mlp = nn.RMSNorm(size), nn.RMSNorm(size)
        self.mixer, self.mlp = mixer(), mlp

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer(self.before_mixer(x))
        return x + self.mlp(self.before_mlp(x))


class Frame(nn.Module):
    """Ids [batch, tokens] to logits. `glu`: which MLP; `positions`: sines are added to the embedding."""

    def __init__(
        self,
        vocabulary: int,
        size: int,
        layers: int,
        hidden: int,
        mixer: Mixer,
        *,
        glu: bool = True,
        positions: bool = False,
    ) -> None:
        super().__init__()
        kind = SwiGLU if glu else Mlp
        self.embed = nn.Embedding(vocabulary, size)
        self.blocks = nn.ModuleList(Block(size, mixer, kind(size, hidden)) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(size), nn.Linear(size, vocabulary, bias=not glu)
        self.positions = positions

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        if self.positions:
            x = x + sines(x.shape[1], x.shape[2])
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class ShortConvolution(nn.Conv1d):
    """Causal, each feature by itself, then SiLU: [batch, tokens, size]."""

    def __init__(self, size: int, width: int = 4) -> None:
        super().__init__(size, size, width, groups=size, padding=width - 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(super().forward(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))


def sines(tokens: int, size: int) -> Tensor:
    """Vaswani et al. 2017, section 3.5: [tokens, size]."""
    angles = torch.arange(tokens).unsqueeze(1) * frequencies(size)
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)


def frequencies(size: int) -> Tensor:
    """10000^(-2i/size), for half of the features."""
    return 10_000.0 ** -(torch.arange(0, size, 2) / size)


def rotated(x: Tensor, positions: Tensor) -> Tensor:
    """Rotary embedding (Su et al. 2021) of x [..., tokens, size] at positions [tokens]."""
    angles = positions.unsqueeze(1) * frequencies(x.shape[-1])
    cosine, sine = angles.cos(), angles.sin()
    first, second = x.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)


def heads_of(x: Tensor, heads: int) -> Tensor:
    """[batch, tokens, size] as [batch, heads, tokens, size of a head]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merged(x: Tensor) -> Tensor:
    """The inverse of `heads_of`."""
    return x.transpose(1, 2).flatten(2)


def start_normal(model: nn.Module, *, convolutions: bool = True) -> None:
    """The start of the models of transformers, flash-linear-attention and TTT: linear maps, embeddings and,
    but for TTT, convolutions normal with deviation 0.02, biases zero."""
    kinds = (nn.Linear, nn.Embedding, nn.Conv1d) if convolutions else (nn.Linear, nn.Embedding)
    for module in model.modules():
        if isinstance(module, kinds):
            nn.init.normal_(module.weight, std=0.02)
            if not isinstance(module, nn.Embedding) and module.bias is not None:
                nn.init.zeros_(module.bias)


def matched(build: Callable[[int], nn.Module], parameters: int, seed: int) -> nn.Module:
    """The model of as nearly so many parameters as the hidden size of its MLPs allows, drawn from `seed`.

    `build` makes one of a hidden size; its parameters grow in proportion to that."""
    few, more = (count(build(hidden)) for hidden in (16, 32))
    hidden = max(1, round(16 + 16 * (parameters - few) / (more - few)))
    torch.manual_seed(seed)
    return build(hidden)


def count(model: nn.Module) -> int:
    """The numbers that it learns."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
