"""A linear memory that every token moves at once: the WY form.

With γ_t = α_1 … α_t and D_ts = α_{s+1} … α_t inside a block of C tokens that starts at state S (D⁻ is D with
its rows moved down by one, so that row t ends at token t - 1), and with what is known of each write, w:

    S_t = α_t S_{t-1} + k_t e_tᵀ,  e_t = w_t - b_t S_{t-1}ᵀ k_t

    (I + diag(b) (D⁻ ∘ K Kᵀ)) E = W - diag(b γ_{t-1}) K S             without b: E = W
    S_C = γ_C S + (diag(D_C) K)ᵀ E                                    the only sequential step

b is the step η, or η α where the memory forgets first. With one α per key channel, D and b k have one value
for each channel too, and D⁻ ∘ K Kᵀ is a sum over channels.
Suffixes as in `running`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.blocks import block_size, to_blocks
from nestdsl.runtime.ops.linear_memory.cached import delta_blocks
from nestdsl.runtime.ops.linear_memory.decay import decay_matrix, first_before, rows_before
from nestdsl.runtime.ops.linear_memory.inverse import BLOCK
from nestdsl.runtime.ops.linear_memory.running import Running, Track, weighed
from nestdsl.runtime.ops.linear_memory.scan import decay_scan
from nestdsl.runtime.ops.linear_memory.solved import solved_scan


def learn(
    key: Tensor,
    write: Tensor,
    pull: Tensor | None,
    retain: Tensor,
    matrix: Tensor,
    block: int,
    *,
    stop: bool,
) -> tuple[Running, Tensor]:
    """The trajectory from `matrix` [B, H, K, V] and the matrix at its end.

    key [B, T, H, K]; write w [B, T, H, V]; pull b [B, T, H, W or 1], None for none; retain [B, T, H, W], W
    being 1 or K, per key channel. All in one floating-point type. stop: what is written is a constant.
    """
    batch, heads, key_size, value_size = matrix.shape
    if key.shape[1] == 1:
        return _one_token(key, write, pull, retain, matrix, stop=stop)
    # Decays per channel have K times the factors between two tokens, so their blocks stay short.
    size = block_size(key.shape[1], block if retain.shape[-1] == 1 else min(block, BLOCK))
    keys, writes = to_blocks(key, size), to_blocks(write, size)
    retains = to_blocks(retain, size, 1.0).transpose(1, 2)

    decays = decay_matrix(retains)
    first = decays[..., 0] * retains[..., :1]
    start = matrix.reshape(batch * heads, key_size, value_size)

    def stacked(blocks: Tensor) -> Tensor:
        return blocks.unflatten(0, (-1, batch * heads))

    ends = stacked(first[..., -1:])
    if pull is None:
        carried = keys * decays[..., -1, :].transpose(1, 2)
        states = decay_scan(stacked(carried.transpose(-1, -2) @ writes), ends, start)
        errors, (states, end) = writes, _last_apart(states)
    elif retain.shape[-1] > 1:
        answers = to_blocks(pull, size) * keys
        system = weighed(rows_before(decays), answers, keys)
        asked = answers * first_before(first, 1.0).transpose(1, 2)
        carried = keys * decays[..., -1, :].transpose(1, 2)
        flows = (stacked(flow) for flow in (system, writes, asked, carried))
        errors, states, end, _ = solved_scan(*flows, ends, start)
        errors = errors.flatten(0, 1)
    else:
        pulls = to_blocks(pull, size)
        before, before_first = rows_before(decays.squeeze(1)), first_before(first, 1.0).transpose(1, 2)
        kept = decays[..., -1, :].transpose(1, 2)
        errors, states, end, _ = delta_blocks(
            stacked(keys),
            stacked(writes),
            stacked(pulls * before),
            stacked(pulls * before_first),
            stacked(kept),
            ends,
            start,
        )
        errors = errors.flatten(0, 1)
    if stop:
        # The writes are constants; what is left of the start in each state is its share after decay.
        left = torch.cat((torch.ones_like(ends[:1]), ends)).cumprod(0)
        errors, moved = errors.detach(), start - start.detach()
        states, end = states.detach() + left[:-1] * moved, end.detach() + left[-1] * moved
    return Running(keys, (Track(errors, states.flatten(0, 1), decays, first),)), end.view_as(matrix)


def _last_apart(states: Tensor) -> tuple[Tensor, Tensor]:
    starts, end = states.split((states.shape[0] - 1, 1))
    # clone: a view would keep the whole trajectory alive for as long as the state is carried
    return starts, end.clone()


def _one_token(
    key: Tensor, write: Tensor, pull: Tensor | None, retain: Tensor, matrix: Tensor, *, stop: bool
) -> tuple[Running, Tensor]:
    """The equation as it stands, for decoding and chunks of one token."""
    state = matrix.flatten(0, 1)
    keys, errors, kept = (to_blocks(flow, 1) for flow in (key, write, retain))
    if pull is not None:
        pulls = to_blocks(pull, 1)
        answers = pulls * (keys @ state) if pull.shape[-1] == 1 else (pulls * keys) @ state
        errors = errors - answers
    errors = errors.detach() if stop else errors
    # Not as a product of matrices: so it is one kernel, with what the caller does before and after.
    following = kept.transpose(1, 2) * state + keys.transpose(1, 2) * errors
    first = kept.transpose(1, 2)
    track = Track(errors, state, torch.ones_like(first).unsqueeze(-1), first)
    return Running(keys, (track,)), following.view_as(matrix)
