"""Where the chunks of the context begin among the blocks of a call.

A call may begin anywhere inside a chunk, at a position that only a tensor knows, and a chunk may be longer or
shorter than a block. So each token looks its chunk's start up among the rows of its own block; if the chunk
began earlier than the block, or with it, the state there is carried along from block to block.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def chunk_start(token: Tensor, position: Tensor, chunk: int) -> Tensor:
    """How many of the call's tokens come before this one's chunk; below 0 if that began before the call."""
    return (position + token) // chunk * chunk - position


class Anchors(NamedTuple):
    """row [N, B, C + 1]: for each token of each row's block, and for the token after the block, how many of
    the block's own tokens come before its chunk; 0 or less if the chunk begins no later than the block."""

    row: Tensor

    def look_up(self, decays: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """What is left at those starts: [M, C + 1, C] and [M, C + 1], of D [M, C, C] and g [M, C], each the
        state after a token; 0 where the chunk begins no later than the block."""
        row = self._for_heads(decays.shape[0])
        index, inside = (row - 1).clamp_min(0), row > 0
        rows = decays.gather(-2, index.unsqueeze(-1).expand(*index.shape, decays.shape[-1]))
        return torch.where(inside.unsqueeze(-1), rows, 0.0), torch.where(inside, first.gather(-1, index), 0.0)

    def carried(self, like: Tensor) -> Tensor:
        """1 where the chunk begins no later than the block, else 0: [M, C + 1], like first [M, C]."""
        return (self._for_heads(like.shape[0]) <= 0).to(like.dtype)

    def _for_heads(self, blocks: int) -> Tensor:
        """The rows for all heads of the batch: [M, C + 1], M = `blocks`."""
        row = self.row.flatten(0, 1)
        return row.repeat_interleave(blocks // row.shape[0], 0)


def find_anchors(tokens: int, size: int, position: Tensor, chunk: int) -> Anchors:
    """Where the chunks begin that `tokens` tokens in blocks of `size` see.

    The first token of each row stands at `position` [B] of its chunk. What follows the last one is the
    call's end, however far the last block is filled up.
    """
    count = -(-tokens // size)
    begins = torch.arange(count, device=position.device).view(-1, 1, 1) * size
    token = (begins + torch.arange(size + 1, device=position.device)).clamp_max(tokens)
    return Anchors(chunk_start(token, position.unsqueeze(-1), chunk) - begins)


def kept_anchors(rows: int, blocks: int, blocks_of_chunk: int, like: Tensor) -> Tensor:
    """1 where the anchor stays when a block ends, 0 where a chunk ends with it: [M, 1], M = `rows`.

    There are `blocks` blocks, the first of which begins a chunk; `blocks_of_chunk` of them make one. The type
    and the device are those of `like`.
    """
    number = torch.arange(1, blocks + 1, device=like.device)
    kept = (number % blocks_of_chunk != 0).to(like.dtype)
    return kept.repeat_interleave(rows // blocks).unsqueeze(-1)
