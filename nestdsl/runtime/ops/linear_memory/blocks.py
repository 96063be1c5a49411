"""Flows in blocks of tokens: [B, T, H, D] ⇄ [M, C, D], M = blocks · B · H, C tokens of a block."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.inverse import BLOCK


def block_size(tokens: int, block: int) -> int:
    """C for a call of `tokens` tokens: `block`, or less if the call is shorter."""
    if tokens <= BLOCK:
        return min(tokens, block)
    return min(block, -(-tokens // BLOCK) * BLOCK)


def to_blocks(flow: Tensor, size: int, fill: float = 0.0) -> Tensor:
    """[B, T, H, D] → [M, C, D]; the last block is filled up with `fill`."""
    batch, tokens, heads, width = flow.shape
    missing = -tokens % size
    if missing:
        flow = F.pad(flow, (0, 0, 0, 0, 0, missing), value=fill)
    blocks = flow.reshape(batch, -1, size, heads, width).permute(1, 0, 3, 2, 4)
    return blocks.reshape(-1, size, width)


def from_blocks(blocks: Tensor, batch: int, tokens: int, heads: int) -> Tensor:
    """[M, C, D] → [B, T, H, D], the inverse of `to_blocks`."""
    _, size, width = blocks.shape
    flow = blocks.reshape(-1, batch, heads, size, width).permute(1, 0, 3, 2, 4)
    flow = flow.reshape(batch, -1, heads, width)
    return flow if flow.shape[1] == tokens else flow.narrow(1, 0, tokens)
