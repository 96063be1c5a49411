"""An ordinary transformer in plain PyTorch: rotary attention, GELU, RMS norms, a key-value cache."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.compiling import compiled


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)


class TransformerBlock(nn.Module):
    """x + attention(norm x), then + mlp(norm x); [batch, tokens, size]."""

    def __init__(self, size: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.RMSNorm(size), nn.RMSNorm(size)
        self.projections = nn.Linear(size, 3 * size, bias=False)
        self.out = nn.Linear(size, size, bias=False)
        self.up, self.down = nn.Linear(size, hidden), nn.Linear(hidden, size)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor]) -> Tensor:
        query, key, value = self._heads(x, angles)
        answer = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self._rest(x, answer)

    def decode(
        self, x: Tensor, angles: tuple[Tensor, Tensor], cache: tuple[Tensor, Tensor], position: int
    ) -> Tensor:
        """One token [batch, 1, size] at `position`; its key and value go into the cache in place."""
        query, key, value = self._heads(x, angles)
        cache[0][:, :, position : position + 1], cache[1][:, :, position : position + 1] = key, value
        keys, values = (part[:, :, : position + 1] for part in cache)
        return self._rest(x, F.scaled_dot_product_attention(query, keys, values))

    def _heads(self, x: Tensor, angles: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        flow = self.projections(self.before_attention(x)).unflatten(-1, (3, self.heads, -1))
        query, key, value = (part.transpose(1, 2) for part in flow.unbind(2))
        return _rotate(query, *angles), _rotate(key, *angles), value

    def _rest(self, x: Tensor, answer: Tensor) -> Tensor:
        x = x + self.out(answer.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.before_mlp(x))))


class Transformer(nn.Module):
    """Ids [batch, tokens] to logits; its block is compiled once for all layers."""

    def __init__(
        self, vocabulary: int, size: int, depth: int, heads: int, hidden: int, *, compile: bool = True
    ) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, size)
        self.blocks = nn.ModuleList(TransformerBlock(size, heads, hidden) for _ in range(depth))
        self.norm, self.head = nn.RMSNorm(size), nn.Linear(size, vocabulary)
        self.frequencies = 10_000.0 ** -(torch.arange(0, size // heads, 2) / (size // heads))
        faster = compiled if compile else lambda method: method
        self._block, self._decode = faster(TransformerBlock.forward), faster(TransformerBlock.decode)

    def forward(self, ids: Tensor) -> Tensor:
        x, angles = self.embed(ids), self.angles(0, ids.shape[1])
        for block in self.blocks:
            x = self._block(block, x, angles)
        return self.head(self.norm(x))

    def decode(self, ids: Tensor, caches: list[tuple[Tensor, Tensor]], position: int) -> Tensor:
        """Logits of one token [batch, 1] at `position`."""
        x, angles = self.embed(ids), self.angles(position, 1)
        for block, cache in zip(self.blocks, caches, strict=True):
            x = self._decode(block, x, angles, cache, position)
        return self.head(self.norm(x))

    def angles(self, first: int, tokens: int) -> tuple[Tensor, Tensor]:
        turned = torch.arange(first, first + tokens).unsqueeze(-1) * self.frequencies
        return turned.cos(), turned.sin()


def equal_transformer(
    parameters: int, vocabulary: int, size: int, depth: int, heads: int, *, compile: bool = True
) -> Transformer:
    """One with as many parameters as that, as nearly as the width of its MLPs allows."""
    outside = 2 * vocabulary * size + vocabulary + size
    block = (parameters - outside) // depth - 4 * size * size - 3 * size
    return Transformer(vocabulary, size, depth, heads, max(1, block // (2 * size + 1)), compile=compile)
