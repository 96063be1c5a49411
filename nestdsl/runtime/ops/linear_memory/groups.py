"""The tokens of one call, grouped by the stretch of the context (chunk or period) they fall in.

A call may begin anywhere inside a stretch, at a position that only a tensor knows. Shapes must not depend
on it, or every position would compile again: so each group is a window of fixed width, with a mask.
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
    """index [B, G, W]: the tokens of each window. member [B, G, W]: whether they belong to its group.
    place [B, T]: where in the flattened windows each token stands."""

    index: Tensor
    member: Tensor
    place: Tensor


def group(tokens: int, length: int, position: Tensor, groups: int) -> Groups:
    """Group `tokens` tokens, the first of which stands, in each row, at `position` [B] of group 0.

    W = min(length, tokens); `groups` is how many groups there are room for. A window that would reach
    past either end is shifted inside, and masked.
    """
    device = position.device
    width = min(length, tokens)
    number = torch.arange(groups, device=device)
    token = torch.arange(tokens, device=device)
    start = (number * length - position.unsqueeze(1)).clamp(0, tokens - width)
    index = start.unsqueeze(-1) + torch.arange(width, device=device)
    member = (index + position.view(-1, 1, 1)) // length == number.unsqueeze(-1)
    own = (token + position.unsqueeze(1)) // length
    return Groups(index, member, own * width + token - start.gather(1, own))


def taken(flow: Tensor, index: Tensor) -> Tensor:
    """The tokens `index` [B, ...] of a flow [B, T, H, ...], each row's own: [B, ..., H, ...]."""
    flat = index.flatten(1)
    place = flat.view(*flat.shape, *(1 for _ in flow.shape[2:]))
    return flow.gather(1, place.expand(*flat.shape, *flow.shape[2:])).unflatten(1, index.shape[1:])


def read_held(states: Tensor, query: Tensor, length: int, position: Tensor) -> Tensor:
    """Read states that are constant over stretches of `length` tokens.

    states [G, B, H, K, V]: one for each stretch; query [B, T, H, K], whose first token stands at `position`
    [B] (from 0 to length) of the first stretch. Returns [B, T, H, V].
    """
    groups = group(query.shape[1], length, position, states.shape[0])
    answers = torch.einsum("bgwhk,gbhkv->bgwhv", taken(query, groups.index), states)
    return taken(answers.flatten(1, 2), groups.place)
