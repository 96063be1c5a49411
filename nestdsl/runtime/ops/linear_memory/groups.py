"""The tokens of one call, grouped by the stretch of the context (chunk or period) they fall in.

A call may begin anywhere inside a stretch, at a position that only a tensor knows. Shapes must not depend
on it, or every position would compile anew: so each group is a window of fixed width, with a mask.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


def group_count(tokens: int, length: int, aligned: bool = False) -> int:
    """How many stretches of `length` tokens a call of `tokens` tokens can touch, wherever it begins; if
    aligned, when it begins with one."""
    return -(-tokens // length) if aligned else 1 + (tokens + length - 2) // length


class Groups(NamedTuple):
    """index [G, W]: the tokens of each window. member [G, W]: whether they belong to its group.
    place [T]: where in the flattened windows each token stands."""

    index: Tensor
    member: Tensor
    place: Tensor


def group(tokens: int, length: int, position: Tensor, groups: int) -> Groups:
    """Group `tokens` tokens, the first of which stands at `position` of group 0.

    W = min(length, tokens); `groups` is how many groups there are room for. A window that would reach
    past either end is shifted inside, and masked.
    """
    device = position.device
    width = min(length, tokens)
    number = torch.arange(groups, device=device)
    token = torch.arange(tokens, device=device)
    start = (number * length - position).clamp(0, tokens - width)
    index = start[:, None] + torch.arange(width, device=device)
    member = (index + position) // length == number[:, None]
    own = (token + position) // length
    return Groups(index, member, own * width + token - start[own])


def read_held(states: Tensor, query: Tensor, length: int, position: Tensor) -> Tensor:
    """Read states that are constant over stretches of `length` tokens.

    states [G, B, H, K, V]: one for each stretch; query [B, T, H, K], whose first token stands at `position`
    (0 ≤ position ≤ length) of the first stretch. Returns [B, T, H, V].
    """
    batch, tokens, heads, _ = query.shape
    groups = group(tokens, length, position, states.shape[0])
    count, width = groups.index.shape
    windows = query.index_select(1, groups.index.flatten()).unflatten(1, (count, width))
    answers = torch.einsum("bgwhk,gbhkv->bgwhv", windows, states)
    return answers.reshape(batch, count * width, heads, -1).index_select(1, groups.place)
