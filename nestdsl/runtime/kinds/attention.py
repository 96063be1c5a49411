"""`attention`: softmax attention, the memory that is solved anew at every token.

It has no weights; the projections to keys, values and queries are levels of their own.
Shapes: B batch, T new tokens, C cached tokens, S = C + T, H heads, K and V the sizes of a head's
keys and values, D either of them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestdsl.runtime.functions import at_least_float32, split_heads
from nestdsl.runtime.kinds.weights import require_division

State = dict[str, Tensor]

ROTARY_BASE = 10000.0
# Blocks of a local attention smaller than this are too small for the matrix units.
SMALLEST_BLOCK_TOKENS = 64


class Context(NamedTuple):
    """What the new tokens can read: all keys and values in reach, and where the new tokens begin."""

    key: Tensor  # [B, S, H * K], already rotated
    value: Tensor  # [B, S, H * V]
    position: Tensor  # whole number, no dimensions: tokens of the sequence before the new ones


def rotate(x_BTHK: Tensor, position: Tensor) -> Tensor:
    """Rotary position embedding (Su et al. 2021), first half of the features paired with the second.

    Feature pair i of the token at absolute position p turns by p * base^(-2 i / K). Angles are in
    float64 (float32 where the device has no float64): in float32 a long sequence would lose them.
    """
    tokens, half = x_BTHK.shape[1], x_BTHK.shape[3] // 2
    device = x_BTHK.device
    precision = torch.float32 if device.type == "mps" else torch.float64
    positions_T = (position + torch.arange(tokens, device=device)).to(precision)
    frequencies = ROTARY_BASE ** (-torch.arange(half, device=device, dtype=precision) / half)
    angles = (positions_T[:, None] * frequencies)[:, None]  # [T, 1, K / 2]
    x = at_least_float32(x_BTHK)
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    rotated = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    return rotated.to(x_BTHK.dtype)


class Attention(nn.Module):
    """softmax(q k^T / sqrt(K)) v over the tokens in reach, for each head.

    Causal: a token reads itself and those before it, at most `window` in all. Not causal: it reads
    every token so far learned, or those less than `window` tokens away on both sides.
    State: `key` `[B, C, key_size]`, rotated; `value` `[B, C, value_size]`; `position`, a whole number:
    the tokens read so far. With a window at most `window - 1` tokens are kept.
    """

    def __init__(
        self,
        key_size: int,
        value_size: int,
        *,
        heads: int = 1,
        window: int | None = None,
        rotary: bool = True,
        causal: bool = True,
    ) -> None:
        super().__init__()
        require_division(key_size, heads)
        require_division(value_size, heads)
        if rotary and key_size // heads % 2:
            raise ValueError(f"rotary turns pairs of features: a head of {key_size // heads} has no pairs")
        if window is not None and window < 1:
            raise ValueError(f"window = {window} is not a positive number of tokens")
        self.key_size = key_size
        self.value_size = value_size
        self.heads = heads
        self.window = window
        self.rotary = rotary
        self.causal = causal

    def init_state(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state of a sequence of which nothing is read yet."""
        return {
            "key": torch.zeros(batch, 0, self.key_size, device=device, dtype=dtype),
            "value": torch.zeros(batch, 0, self.value_size, device=device, dtype=dtype),
            "position": torch.zeros((), device=device, dtype=torch.int64),
        }

    def learn(self, key: Tensor, value: Tensor, state: State) -> tuple[Context, State]:
        """Takes in keys `[B, T, key_size]` and values `[B, T, value_size]`; gives what queries of
        the same tokens read, and the next state."""
        position = state["position"]
        keys = torch.cat((state["key"].to(key.dtype), self._rotated(key, position)), dim=1)
        values = torch.cat((state["value"].to(value.dtype), value), dim=1)
        following = {"key": keys, "value": values, "position": position + key.shape[1]}
        if self.window is not None:
            first = max(0, keys.shape[1] - (self.window - 1))
            # clone: a view would keep the whole sequence alive
            following["key"] = keys[:, first:].clone()
            following["value"] = values[:, first:].clone()
        return Context(keys, values, position), following

    def read(self, context: Context, query: Tensor) -> Tensor:
        """Queries `[B, T, key_size]` of the tokens just learned -> `[B, T, value_size]`."""
        query_BHTK = split_heads(self._rotated(query, context.position), self.heads).transpose(1, 2)
        key_BHSK = split_heads(context.key, self.heads).transpose(1, 2)
        value_BHSV = split_heads(context.value, self.heads).transpose(1, 2)
        if self.window is not None and self.causal and query.shape[1] > self._block_tokens(self.window):
            read_BHTV = self._read_blocks(query_BHTK, key_BHSK, value_BHSV, self._block_tokens(self.window))
        else:
            read_BHTV = self._read_whole(query_BHTK, key_BHSK, value_BHSV)
        return read_BHTV.transpose(1, 2).flatten(2)

    @staticmethod
    def _block_tokens(window: int) -> int:
        return max(window, SMALLEST_BLOCK_TOKENS)

    def _rotated(self, x: Tensor, position: Tensor) -> Tensor:
        if not self.rotary:
            return x
        return rotate(split_heads(x, self.heads), position).flatten(2)

    def _read_whole(self, query_BHTK: Tensor, key_BHSK: Tensor, value_BHSV: Tensor) -> Tensor:
        """The last T of S tokens read all S, `[B, H, T, V]`; with the fast kernels where they can."""
        tokens, reach = query_BHTK.shape[2], key_BHSK.shape[2]
        is_window_wide = self.window is None or reach <= self.window
        if is_window_wide and (tokens == 1 or not self.causal):
            return F.scaled_dot_product_attention(query_BHTK, key_BHSK, value_BHSV)
        if is_window_wide and tokens == reach:
            return F.scaled_dot_product_attention(query_BHTK, key_BHSK, value_BHSV, is_causal=True)
        mask_TS = self._mask(tokens, reach, query_BHTK.device)
        return F.scaled_dot_product_attention(query_BHTK, key_BHSK, value_BHSV, attn_mask=mask_TS)

    def _mask(self, tokens: int, reach: int, device: torch.device) -> Tensor:
        """Which key each query reads, `[T, S]`; true: it reads it."""
        query_T = torch.arange(reach - tokens, reach, device=device)
        distance_TS = query_T[:, None] - torch.arange(reach, device=device)
        mask_TS = distance_TS >= 0 if self.causal else torch.ones_like(distance_TS, dtype=torch.bool)
        return mask_TS if self.window is None else mask_TS & (distance_TS.abs() < self.window)

    def _read_blocks(self, query_BHTK: Tensor, key_BHSK: Tensor, value_BHSV: Tensor, block: int) -> Tensor:
        """Local attention, `[B, H, T, V]`, in blocks of at least `window` tokens: each reads itself and
        the block before, so the work grows with T, not T times T. Needs T > block."""
        batch, _, tokens, _ = query_BHTK.shape
        cached = key_BHSK.shape[2] - tokens
        in_first = cached + block
        first = self._read_whole(
            query_BHTK[:, :, :block], key_BHSK[:, :, :in_first], value_BHSV[:, :, :in_first]
        )

        def in_blocks(x_BHTD: Tensor) -> Tensor:
            """`[B, H, T, D]` to `[B, blocks, H, block, D]`, with zeros after the last token."""
            padded = F.pad(x_BHTD, (0, 0, 0, -tokens % block))
            return padded.unflatten(2, (-1, block)).transpose(1, 2)

        def with_previous(x_BHSD: Tensor) -> Tensor:
            """Each block but the first, after the one before it: `[B, blocks - 1, H, 2 * block, D]`."""
            x = in_blocks(x_BHSD[:, :, cached:])
            return torch.cat((x[:, :-1], x[:, 1:]), dim=3)

        # Blocks are rows of the batch to the kernel, and all share one mask; no query that is kept
        # sees the zeros, for they come after it.
        rest = F.scaled_dot_product_attention(
            in_blocks(query_BHTK)[:, 1:].flatten(0, 1),
            with_previous(key_BHSK).flatten(0, 1),
            with_previous(value_BHSV).flatten(0, 1),
            attn_mask=self._mask(block, 2 * block, query_BHTK.device),
        )
        rest = rest.unflatten(0, (batch, -1)).transpose(1, 2).flatten(2, 3)
        return torch.cat((first, rest), dim=2)[:, :, :tokens]
