"""A linear memory with a momentum, or whose gradients are taken where the token's chunk began.

With the momentum U, the anchor A = S_ξ at the start ξ of token t's chunk, and b the step:

    w_t = w'_t - b_t S_ξᵀ k_t                            what goes into the momentum; stale gradients only
    d_t = d'_t - b_t S_{t-1}ᵀ k_t                        what is written at once; decay along the key only
    U_t = μ_t U_{t-1} + k_t w_tᵀ,   S_t = α_t S_{t-1} + k_t d_tᵀ + U_t

and without momentum S_t = α_t S_{t-1} + k_t (w_t + d_t)ᵀ. Inside a block, with D and γ of α as in `direct`, H
and η of μ the same, G = D H and g = D η (row by row: how much of a write, and of U, is in the state by then),

    S_t = γ_t S + g_t U + Σ_s D_ts k_s d_sᵀ + Σ_s G_ts k_s w_sᵀ

so everything is linear in what the block began with, S, U and A, and a triangular system gives the writes
([Titans, Eq. 16-18], with WY in place of its sums where the gradients or decays are not known beforehand).
Each right-hand side is kept as columns [known | S | U | A]: known - (its answers to S, U, A).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.anchors import find_anchors, kept_anchors
from nestdsl.runtime.ops.linear_memory.blocks import block_size, to_blocks
from nestdsl.runtime.ops.linear_memory.decay import decay_matrix, first_before, rows_before
from nestdsl.runtime.ops.linear_memory.inverse import unit_lower_inverse
from nestdsl.runtime.ops.linear_memory.running import Running, Track
from nestdsl.runtime.ops.linear_memory.scan import decay_scan, delta_scan


class Flows(NamedTuple):
    """key [B, T, H, K]; write w' [B, T, H, V]; direct d' [B, T, H, V] or None for 0; step b, retain and
    momentum [B, T, H]; live [B, T, H], 0 for tokens that leave everything as it is (their writes and steps
    are 0, their retain and momentum 1). Without momentum d' belongs into w', and momentum and live are
    None."""

    key: Tensor
    write: Tensor
    direct: Tensor | None
    step: Tensor
    retain: Tensor
    momentum: Tensor | None
    live: Tensor | None


class Parts(NamedTuple):
    """What is carried, each [B, H, K, V]: matrix S, momentum U and anchor A, None where the rule has none."""

    matrix: Tensor
    momentum: Tensor | None
    anchor: Tensor | None


class _Path(NamedTuple):
    """decays [M, R, C] and first [M, R]: how much of a write at each token, and of what was carried in by the
    same way, is in the state at each of R places."""

    decays: Tensor
    first: Tensor


class _Block(NamedTuple):
    """scaled: b K; gram: b K Kᵀ. Of the ways into the state, first the direct one, then the momentum's:
    `paths` to every token, `before` it, in `origins` to its chunk's start (None if no chunk begins inside a
    block), in `ending` to that of the token after the block. momentum: from the momentum to itself.
    begun [M, C + 1]: whether a token's chunk begins no later than the block, so that its start is the anchor;
    None if no anchor is carried."""

    keys: Tensor
    scaled: Tensor
    gram: Tensor
    paths: tuple[_Path, ...]
    before: tuple[_Path, ...]
    origins: tuple[_Path, ...] | None
    ending: tuple[_Path, ...]
    momentum: _Path | None
    begun: Tensor | None

    def columns(self, known: Tensor, factors: list[Tensor]) -> Tensor:
        """[known | the answers b K, one factor [M, C] for each carried part]."""
        return torch.cat((known, *(factor.unsqueeze(-1) * self.scaled for factor in factors)), -1)


def learn(
    flows: Flows,
    parts: Parts,
    position: Tensor | None,
    chunk: int | None,
    block: int,
    *,
    decays_along_key: bool,
    stop: bool,
    aligned: bool,
) -> tuple[Running, Parts]:
    """The trajectory, and what is carried on. All in one floating-point type.

    chunk says where gradients are taken, None if w = w'; chunks of more than one token need an anchor and a
    position. stop: what is written is a constant. aligned: the position is 0.
    """
    batch, heads, _, value_size = parts.matrix.shape
    size = block_size(flows.key.shape[1], block)
    inside = _describe(flows, parts, position, chunk, size, aligned)
    writes = to_blocks(flows.write, size)
    if inside.momentum is None:
        rows = _written_at_once(inside, writes)
    else:
        direct = None
        if decays_along_key:
            direct = torch.zeros_like(writes) if flows.direct is None else to_blocks(flows.direct, size)
        rows = _written_with_momentum(inside, writes, direct, stale=chunk is not None)

    start = torch.cat([part for part in parts if part is not None], 2)
    start = start.reshape(batch * heads, -1, value_size)

    def stacked(blocks: Tensor) -> Tensor:
        return blocks.unflatten(0, (-1, batch * heads))

    carried, ends = (stacked(blocks) for blocks in _onward(inside, decays_along_key))
    if rows.shape[-1] == value_size:
        states = decay_scan(carried.transpose(-1, -2) @ stacked(rows), ends, start)
        errors = rows
    else:
        known, answers = stacked(rows).split((value_size, rows.shape[-1] - value_size), -1)
        errors, states = delta_scan(carried, ends, known, answers, start)
        errors = errors.flatten(0, 1)
    return _gather(inside, errors, states, ends, parts, stop)


def _describe(
    flows: Flows, parts: Parts, position: Tensor | None, chunk: int | None, size: int, aligned: bool
) -> _Block:
    keys = to_blocks(flows.key, size)
    scaled = to_blocks(flows.step.unsqueeze(-1), size) * keys
    direct, momentum = _fading(flows.retain, size), None
    paths, shares = (direct,), (1.0,)
    if flows.momentum is not None and flows.live is not None:
        momentum = _fading(flows.momentum, size)
        arriving = direct.decays * to_blocks(flows.live.unsqueeze(-1), size).transpose(1, 2)
        by_momentum = _Path(arriving @ momentum.decays, (arriving @ momentum.first.unsqueeze(-1)).squeeze(-1))
        paths, shares = (direct, by_momentum), (1.0, 0.0)
    before = tuple(
        _Path(rows_before(path.decays), first_before(path.first, share))
        for path, share in zip(paths, shares, strict=True)
    )
    gram = scaled @ keys.transpose(-1, -2)
    if parts.anchor is None or position is None or chunk is None:
        return _Block(keys, scaled, gram, paths, before, before, (), momentum, None)
    if aligned and chunk % size == 0:
        kept = kept_anchors(keys.shape[0], -(-flows.key.shape[1] // size), chunk // size, direct.first)
        ending = tuple(
            _Path((1 - kept).unsqueeze(-1) * path.decays[:, -1:], (1 - kept) * path.first[:, -1:])
            for path in paths
        )
        begun = torch.cat((torch.ones_like(direct.first), kept), 1)
        return _Block(keys, scaled, gram, paths, before, None, ending, momentum, begun)
    anchors = find_anchors(flows.key.shape[1], size, position, chunk)
    found = [_Path(*anchors.look_up(*path)) for path in paths]
    origins = tuple(_Path(path.decays[:, :-1], path.first[:, :-1]) for path in found)
    ending = tuple(_Path(path.decays[:, -1:], path.first[:, -1:]) for path in found)
    return _Block(keys, scaled, gram, paths, before, origins, ending, momentum, anchors.carried(direct.first))


def _fading(factor: Tensor, size: int) -> _Path:
    factors = to_blocks(factor.unsqueeze(-1), size, 1.0).squeeze(-1)
    decays = decay_matrix(factors)
    return _Path(decays, decays[..., 0] * factors[:, :1])


def _written_at_once(inside: _Block, writes: Tensor) -> Tensor:
    """w + d, as columns: one system, since both go the direct way."""
    (before,), begun = inside.before, inside.begun
    decays, first = before
    if inside.origins is not None:
        decays, first = decays + inside.origins[0].decays, first + inside.origins[0].first
    seen = [first] + ([] if begun is None else [begun[:, :-1]])
    return unit_lower_inverse(inside.gram * decays) @ inside.columns(writes, seen)


def _written_with_momentum(inside: _Block, writes: Tensor, direct: Tensor | None, *, stale: bool) -> Tensor:
    """w, below d if there are such writes, as columns; of known writes the first column only.

    (I + X) w = w' - Y d and (I + P) d = d' - Q w, where X, Y, P, Q are strictly lower triangular: w is
    eliminated first, which leaves (I + P - Q (I + X)⁻¹ Y) d.
    """
    gram, begun = inside.gram, inside.begun
    if not stale and direct is None:
        return writes
    before = [path.first for path in inside.before]
    none = torch.zeros_like(before[0])
    at_anchor = [] if begun is None else [begun[:, :-1]]
    if not stale or inside.origins is None:
        into, feedback = inside.columns(writes, [none, none, *at_anchor]), None
    else:
        inverse = unit_lower_inverse(gram * inside.origins[1].decays)
        into = inverse @ inside.columns(writes, [path.first for path in inside.origins] + at_anchor)
        feedback = inverse @ (gram * inside.origins[0].decays)
    if direct is None:
        return into
    system, arrived = gram * inside.before[0].decays, gram * inside.before[1].decays
    if feedback is not None:
        system = system - arrived @ feedback
    right = inside.columns(direct, before + ([] if begun is None else [none])) - arrived @ into
    at_once = unit_lower_inverse(system) @ right
    return torch.cat((at_once, into if feedback is None else into - feedback @ at_once), 1)


def _onward(inside: _Block, decays_along_key: bool) -> tuple[Tensor, Tensor]:
    """What of each row of writes [M, R, J·K] and of each carried part [M, J, J] ends up in each part."""
    keys, momentum, begun = inside.keys, inside.momentum, inside.begun
    none = torch.zeros_like(inside.paths[0].first)
    rows, ends = [], []
    for number, path in enumerate(inside.paths):
        parts = [path.decays[:, -1]]
        if momentum is not None:
            parts.append(momentum.decays[:, -1] if number == 1 else none)
        if begun is not None:
            parts.append(inside.ending[number].decays[:, 0])
        rows.append(torch.cat([part.unsqueeze(-1) * keys for part in parts], -1))
    if momentum is not None and not decays_along_key:
        rows = rows[1:]
    zero = none[:, 0]
    kept = [[path.first[:, -1] for path in inside.paths]]
    if momentum is not None:
        kept.append([zero, momentum.first[:, -1]])
    if begun is not None:
        kept = [[*row, zero] for row in kept]
        kept.append([path.first[:, 0] for path in inside.ending] + [begun[:, -1]])
    ends = torch.stack([torch.stack(row, -1) for row in kept], -2)
    return torch.cat(rows, 1), ends


def _gather(
    inside: _Block, errors: Tensor, states: Tensor, ends: Tensor, parts: Parts, stop: bool
) -> tuple[Running, Parts]:
    """The tracks of the trajectory and the parts to carry on, from all rows of writes and all states."""
    shape = parts.matrix.shape
    carried = list(states.split(shape[2], 2))
    if stop:
        # The writes are constants; what is left of the start in each state is its share after decay.
        start = parts.matrix.flatten(0, 1)
        left = torch.cat((torch.ones_like(ends[:1, ..., :1, :1]), ends[..., :1, :1])).cumprod(0)
        errors, carried = errors.detach(), [part.detach() for part in carried]
        carried[0] = carried[0] + left * (start - start.detach())
    tracks = [
        Track(None, part[:-1].flatten(0, 1), path.decays.unsqueeze(1), path.first.unsqueeze(1), share)
        for part, path, share in zip(carried, inside.paths, (1.0, 0.0), strict=False)
    ]
    for number, rows in enumerate(reversed(errors.split(inside.keys.shape[1], 1)), 1):
        tracks[-number] = tracks[-number]._replace(errors=rows)
    # clone: a view would keep the whole trajectory alive for as long as the state is carried
    last = [part[-1].clone().view(shape) for part in carried]
    following = Parts(
        last[0],
        last[1] if parts.momentum is not None else None,
        last[-1] if parts.anchor is not None else None,
    )
    return Running(inside.keys, tuple(tracks)), following
