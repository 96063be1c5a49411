"""The tokens of a call, laid out chunk by chunk: [B, T, H, ...] to [N, P, W, ...] and back.

N chunks (or periods), P = B·H batch rows and heads, W tokens of each. A call may begin anywhere inside a
chunk, at a position that only a tensor knows; each chunk is then a window of fixed width with a mask, so that
shapes, and what is compiled for them, do not depend on it.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.groups import group, group_count, taken


class Flows(NamedTuple):
    """key [B, T, H, K], value [B, T, H, V], step, retain, momentum [B, T, H]; or the same in windows, with
    [N, P, W] for [B, T, H]."""

    key: Tensor
    value: Tensor
    step: Tensor
    retain: Tensor
    momentum: Tensor


class Windows(NamedTuple):
    """member [N, W], or [N, B, W] for each row: whether a token of a window belongs to its chunk. index
    [B, N, W] and place [B, T]: which token it is, and where in the flattened windows each token stands; None
    if they stand in order."""

    member: Tensor
    index: Tensor | None
    place: Tensor | None

    def mask(self, rows: int) -> Tensor:
        """`member` for batch rows and heads, P = `rows` in all: [N, 1 or P, W]."""
        if self.member.dim() == 2:
            return self.member.unsqueeze(1)
        return self.member.repeat_interleave(rows // self.member.shape[1], 1)


def windows_at(tokens: int, length: int, position: Tensor, count: int | None = None) -> Windows:
    """Chunks of `length` tokens, the first of which began `position` [B] tokens before the call."""
    count = group_count(tokens, length) if count is None else count
    groups = group(tokens, length, position, count)
    return Windows(groups.member.transpose(0, 1), groups.index, groups.place)


def windows_in_order(tokens: int, length: int, device: torch.device) -> Windows:
    """Chunks of `length` tokens, the first of which begins with the call."""
    width = min(length, tokens)
    number = torch.arange(-(-tokens // width) * width, device=device)
    return Windows((number < tokens).view(-1, width), None, None)


def to_windows(flow: Tensor, windows: Windows) -> Tensor:
    """[B, T, H, ...] → [N, P, W, ...]. Tokens that belong to no chunk are other tokens, or zeros."""
    count, width = windows.member.shape[0], windows.member.shape[-1]
    if windows.index is not None:
        parts = taken(flow, windows.index)
    else:
        rest = [0, 0] * (flow.dim() - 2)
        parts = F.pad(flow, (*rest, 0, count * width - flow.shape[1])).unflatten(1, (count, width))
    parts = parts.permute(1, 0, 3, 2, *range(4, parts.dim()))
    return parts.reshape(count, -1, width, *flow.shape[3:])


def from_windows(parts: Tensor, windows: Windows, batch: int, tokens: int) -> Tensor:
    """[N, P, W, V] → [B, T, H, V], the inverse of `to_windows`."""
    flow = parts.unflatten(1, (batch, -1)).permute(1, 0, 3, 2, 4).flatten(1, 2)
    if windows.place is not None:
        return taken(flow, windows.place)
    return flow.narrow(1, 0, tokens)
