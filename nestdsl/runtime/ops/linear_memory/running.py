"""Where a linear memory that moves at every token stood at each of them, as far as reads need it.

Inside a block the state after token t is a sum over tracks, each of which began the block at a state S_0:

    S_t = Σ_tracks  g_t S_0 + Σ_{s≤t} D_ts k_s e_sᵀ

A memory without momentum is one track. With momentum there are two: what was written at once, beside the
memory's own start, and what came by way of the momentum, beside the momentum's start.

Suffixes: M = N·B·H (blocks, batch rows, heads), C tokens of a block, K key size, V value size; W is K if the
decay has one value per key channel, and 1 if it has one per head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.blocks import from_blocks, to_blocks
from nestdsl.runtime.ops.linear_memory.decay import first_before, rows_before


class Track(NamedTuple):
    """errors e [M, C, V], None if there are none; starts S_0 [M, K, V]; decays D [M, W, C, C] and first g
    [M, W, C] as above; share: how much of S_0 the state before the block's first token holds."""

    errors: Tensor | None
    starts: Tensor
    decays: Tensor
    first: Tensor
    share: float = 1.0


class Running(NamedTuple):
    """keys [M, C, K]; tracks; origin [B, H, K, V], what is to be added to every state, None if nothing is."""

    keys: Tensor
    tracks: tuple[Track, ...]
    origin: Tensor | None = None


def read(running: Running, query: Tensor, *, after: bool) -> Tensor:
    """What the memory answers to query [B, T, H, K]: [B, T, H, V]."""
    batch, tokens, heads, _ = query.shape
    queries = to_blocks(query, running.keys.shape[1])
    shared = queries @ running.keys.transpose(-1, -2)
    parts = []
    for track in running.tracks:
        decays, first = track.decays, track.first
        if not after:
            decays, first = rows_before(decays), first_before(first, track.share)
        asked = first.transpose(1, 2) * queries
        if track.errors is None:
            parts.append(asked @ track.starts)
        elif queries.shape[1] == 1:  # one column by one row: no product of matrices, which fuses with nothing
            inside = _weighed(decays, queries, running.keys, shared) * track.errors
            parts.append(asked @ track.starts + inside)
        else:
            inside = _weighed(decays, queries, running.keys, shared) @ track.errors
            parts.append(torch.baddbmm(inside, asked, track.starts))
    answer = from_blocks(parts[0] if len(parts) == 1 else parts[0] + parts[1], batch, tokens, heads)
    if running.origin is not None:
        answer = answer + torch.einsum("bthk,bhkv->bthv", query, running.origin)
    return answer


def _weighed(decays: Tensor, queries: Tensor, keys: Tensor, shared: Tensor) -> Tensor:
    """Q Kᵀ with D inside the product, [M, C, C]; `shared` is Q Kᵀ without it."""
    return decays.squeeze(1) * shared if decays.shape[1] == 1 else weighed(decays, queries, keys)


def weighed(decays: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Q Kᵀ with D per key channel inside the product: [M, C, C] of D [M, K, C, C], Q and K [M, C, K]."""
    faded = decays * keys.transpose(1, 2).unsqueeze(-2)  # [M, K, C, C]
    return torch.einsum("mtk,mkts->mts", queries, faded)


def states_before(running: Running, token: Tensor, batch: int, heads: int) -> Tensor:
    """The states [A, B, H, K, V] just before the tokens whose numbers, from 0 to T, token [A, B] holds."""
    count, size = running.keys.shape[0] // (batch * heads), running.keys.shape[1]
    number = (token // size).clamp_max(count - 1)
    rest = (token - number * size).view(*token.shape, 1, 1, 1)

    def taken(blocks: Tensor) -> Tensor:
        apart = blocks.unflatten(0, (count, batch, heads))
        index = number.view(*number.shape, *(1 for _ in apart.shape[2:]))
        return apart.gather(0, index.expand(*number.shape, *apart.shape[2:]))

    keys, parts = taken(running.keys), []
    for track in running.tracks:
        first = F.pad(taken(track.first), (1, 0), value=track.share)  # [A, B, H, W, C + 1]
        outside = first.gather(-1, rest.expand(*first.shape[:4], 1))
        parts.append(outside * taken(track.starts))
        if track.errors is None:
            continue
        decays = taken(track.decays)  # [A, B, H, W, C, C]
        row = (rest - 1).clamp_min(0).unsqueeze(-1)
        inside = decays.gather(-2, row.expand(*decays.shape[:4], 1, size)).squeeze(-2)
        inside = torch.where(rest > 0, inside, 0.0)
        parts.append((keys.transpose(-1, -2) * inside) @ taken(track.errors))
    if running.origin is not None:
        parts.append(running.origin)
    return sum(parts[1:], start=parts[0])
