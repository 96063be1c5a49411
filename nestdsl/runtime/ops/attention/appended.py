"""Softmax attention of new tokens over a cache that is a constant: what training in segments asks for.

The cached keys and values have no gradient, so that the backward pass need not make one of their size, and
they stand in a buffer with room for all tokens to come, so that nothing is copied to add some.

Shapes: B batch, H heads, T new tokens, P pairs of each, S pairs so far with the new ones, C pairs that the
buffer has room for, K and V the sizes of a head's keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

QUERY_BLOCK = 128
"""How many queries are scored at once: their shares [B, H, block, S] are the memory that is needed."""


@dataclass(frozen=True, slots=True)
class Room:
    """A cache: the first `pairs` of buffers for keys [B, H, C, K] and values [B, H, C, V].

    What is appended is written into the same buffers, so only one sequence can go on from a cache.
    """

    key: Tensor
    value: Tensor
    pairs: int = 0

    def append(self, key_BHSK: Tensor, value_BHSV: Tensor) -> Room:
        """The cache with more pairs; of these the values alone count, not their graph."""
        end = self.pairs + key_BHSK.shape[2]
        self.key[:, :, self.pairs : end] = key_BHSK.detach()
        self.value[:, :, self.pairs : end] = value_BHSV.detach()
        return replace(self, pairs=end)


def attend_appended(query_BHTK: Tensor, key: Tensor, value: Tensor, room: Room, scale: float) -> Tensor:
    """softmax(scale q kᵀ) v over the pairs of the tokens up to each query's own: [B, H, T, V].

    key [B, H, T·P, K] and value [B, H, T·P, V] are the last pairs of `room`, those of the queries' tokens:
    these alone have a gradient. In float32 or float64.
    """
    return _Appended.apply(query_BHTK, key, value, room, scale)  # type: ignore[no-any-return]


class _Appended(torch.autograd.Function):
    """y = p v with p = softmax(scale q kᵀ), for each block of queries; p is computed again for

    dv = pᵀ dy,   ds = p ∘ (dy vᵀ − Σ p ∘ dy vᵀ),   dq = scale ds k,   dk = scale dsᵀ q
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, room: Room, scale: float) -> Tensor:
        ctx.scale, ctx.before, ctx.each = scale, room.pairs - key.shape[2], key.shape[2] // query.shape[2]
        keys, values = (x[:, :, : room.pairs].flatten(0, 1) for x in (room.key, room.value))
        queries = query.flatten(0, 1)
        ctx.save_for_backward(queries, keys, values)
        made = [
            shares @ values[:, :end]
            for _, _, end, shares in _blocks(queries, keys, ctx.before, ctx.each, scale)
        ]
        return torch.cat(made, 1).view(*query.shape[:3], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        queries, keys, values = ctx.saved_tensors
        heads, before = gradient.shape[:2], ctx.before
        upstream = gradient.flatten(0, 1)
        to_query = torch.empty_like(queries)
        to_key, to_value = (torch.zeros_like(x[:, before:]) for x in (keys, values))
        for start, stop, end, shares in _blocks(queries, keys, before, ctx.each, ctx.scale):
            own, new = upstream[:, start:stop], end - before
            to_value[:, :new].baddbmm_(shares[..., before:].mT, own)
            to_scores = own @ values[:, :end].mT
            to_scores = torch.ops.aten._softmax_backward_data(to_scores, shares, -1, shares.dtype)
            to_query[:, start:stop] = to_scores @ keys[:, :end]
            to_key[:, :new].baddbmm_(to_scores[..., before:].mT, queries[:, start:stop])
        to_query, to_key = (x.mul_(ctx.scale) for x in (to_query, to_key))
        made = (x.unflatten(0, heads) for x in (to_query, to_key, to_value))
        return *made, None, None


def _blocks(queries: Tensor, keys: Tensor, before: int, each: int, scale: float) -> Any:
    """For every block of queries [B·H, T, K]: where it starts and stops, how many pairs it can read, and its
    shares of them [B·H, block, pairs]."""
    tokens = queries.shape[1]
    for start in range(0, tokens, QUERY_BLOCK):
        stop = min(start + QUERY_BLOCK, tokens)
        end = before + stop * each
        scores = (queries[:, start:stop] * scale) @ keys[:, :end].mT
        hidden = torch.ones(stop - start, stop - start, dtype=torch.bool, device=queries.device).triu_(1)
        last = scores[..., end - (stop - start) * each :]
        last.masked_fill_(hidden.repeat_interleave(each, 1), -torch.inf)
        yield start, stop, end, torch.softmax(scores, -1)
