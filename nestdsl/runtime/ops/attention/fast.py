"""Softmax attention with torch's kernels, in blocks or segments where the reach is short.

Shapes: B batch, H heads, T queries, S tokens in all (the queries are the last T of them), P pairs of
each token, N persistent pairs, K and V the sizes of a head's keys and values, D either of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from nestdsl.runtime.ops.attention.reach import Reach

# Blocks of a local attention smaller than this are too small for the matrix units.
SMALLEST_BLOCK_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Pairs:
    """Keys and values of tokens, each with its P pairs, and pairs without a place that all read.

    The last size of both joins the pairs of a token. `persistent`: keys `[H, N, K]`, values `[H, N, V]`.
    """

    key: Tensor  # [B, H, S, P * K]
    value: Tensor  # [B, H, S, P * V]
    count: int = 1  # P
    persistent: tuple[Tensor, Tensor] | None = None
    padding: Tensor | None = None  # [B]: so many of a row's first tokens are none of it

    @property
    def tokens(self) -> int:
        return self.key.shape[2]

    def first(self, tokens: int) -> Pairs:
        return replace(self, key=self.key[:, :, :tokens], value=self.value[:, :, :tokens])

    def flat(self) -> tuple[Tensor, Tensor]:
        """Keys `[B, H, N + S * P, K]` and values, the persistent ones first."""
        flat = [x.unflatten(-1, (self.count, -1)).flatten(2, 3) for x in (self.key, self.value)]
        if self.persistent is not None:
            batch = self.key.shape[0]
            flat = [
                torch.cat((lasting.to(x.dtype).expand(batch, -1, -1, -1), x), dim=2)
                for lasting, x in zip(self.persistent, flat, strict=True)
            ]
        return flat[0], flat[1]

    def covers(self, mask: Tensor) -> Tensor:
        """A mask over tokens [..., S] as one over what `flat` gives."""
        mask = mask.repeat_interleave(self.count, dim=-1) if self.count > 1 else mask
        lasting = 0 if self.persistent is None else self.persistent[0].shape[1]
        return F.pad(mask, (lasting, 0), value=True) if lasting else mask


def attend(query_BHTK: Tensor, pairs: Pairs, reach: Reach, scale: float | None = None) -> Tensor:
    """The last T of S tokens read what they reach, `[B, H, T, V]`.

    The pairs begin at a multiple of the segment, if there is one; of rows with padding, those behind it.
    scale: of the scores, 1 / sqrt(K) if left out.
    """
    tokens = query_BHTK.shape[2]
    if pairs.padding is not None:
        return _padded(query_BHTK, pairs, reach, pairs.padding, scale)
    if reach.segment is not None and pairs.tokens > reach.segment:
        return _in_segments(query_BHTK, pairs, reach, reach.segment, scale)
    if reach.window is not None and reach.causal:
        block = max(reach.window, SMALLEST_BLOCK_TOKENS)
        if tokens > block:
            return _in_blocks(query_BHTK, pairs, reach, block, scale)
    return _whole(query_BHTK, pairs, reach, scale)


def _padded(query_BHTK: Tensor, pairs: Pairs, reach: Reach, padding_B: Tensor, scale: float | None) -> Tensor:
    """All against all, with a mask for each row."""
    key, value = pairs.flat()
    mask = pairs.covers(reach.padded_mask(query_BHTK.shape[2], pairs.tokens, padding_B))
    return F.scaled_dot_product_attention(query_BHTK, key, value, attn_mask=mask.unsqueeze(1), scale=scale)


def _whole(query_BHTK: Tensor, pairs: Pairs, reach: Reach, scale: float | None) -> Tensor:
    """All against all, with the fast kernels where they can."""
    tokens = query_BHTK.shape[2]
    key, value = pairs.flat()
    sees_all = reach.window is None or pairs.tokens <= reach.window
    if sees_all and (tokens == 1 or not reach.causal):
        return F.scaled_dot_product_attention(query_BHTK, key, value, scale=scale)
    if sees_all and tokens == key.shape[2]:
        return F.scaled_dot_product_attention(query_BHTK, key, value, is_causal=True, scale=scale)
    mask = pairs.covers(reach.mask(tokens, pairs.tokens, query_BHTK.device))
    return F.scaled_dot_product_attention(query_BHTK, key, value, attn_mask=mask, scale=scale)


def _in_blocks(query_BHTK: Tensor, pairs: Pairs, reach: Reach, block: int, scale: float | None) -> Tensor:
    """Blocks of at least `window` tokens: each reads itself and the block before, so the work grows with
    T, not T times T. Needs T > block."""
    batch, _, tokens, _ = query_BHTK.shape
    cached = pairs.tokens - tokens
    first = _whole(query_BHTK[:, :, :block], pairs.first(cached + block), reach, scale)

    def with_previous(x_BHSD: Tensor) -> Tensor:
        """Each block but the first, after the one before it: `[B * (blocks - 1), H, 2 * block, D]`."""
        x = _cut(x_BHSD[:, :, cached:], block)
        return torch.cat((x[:, :-1], x[:, 1:]), dim=3).flatten(0, 1)

    # Blocks are rows of the batch to the kernel, and all share one mask; no query that is kept
    # sees the zeros, for they come after it.
    rest = _whole(
        _cut(query_BHTK, block)[:, 1:].flatten(0, 1),
        replace(pairs, key=with_previous(pairs.key), value=with_previous(pairs.value)),
        reach,
        scale,
    )
    return torch.cat((first, _joined(rest, batch)), dim=2)[:, :, :tokens]


def _in_segments(query_BHTK: Tensor, pairs: Pairs, reach: Reach, segment: int, scale: float | None) -> Tensor:
    """Every segment by itself, as rows of the batch. Zeros stand before the first query, and after the
    last token, which no query that is kept reads."""
    batch, _, tokens, _ = query_BHTK.shape
    cached = pairs.tokens - tokens
    query = _cut(F.pad(query_BHTK, (0, 0, cached, 0)), segment).flatten(0, 1)
    key, value = (_cut(x, segment).flatten(0, 1) for x in (pairs.key, pairs.value))
    read = _whole(query, replace(pairs, key=key, value=value), reach, scale)
    return _joined(read, batch)[:, :, cached : cached + tokens]


def _cut(x_BHTD: Tensor, block: int) -> Tensor:
    """`[B, H, T, D]` to `[B, blocks, H, block, D]`, with zeros after the last token."""
    padded = F.pad(x_BHTD, (0, 0, 0, -x_BHTD.shape[2] % block))
    return padded.unflatten(2, (-1, block)).transpose(1, 2)


def _joined(x: Tensor, batch: int) -> Tensor:
    """`[B * blocks, H, block, D]` to `[B, H, blocks * block, D]`."""
    return x.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)
