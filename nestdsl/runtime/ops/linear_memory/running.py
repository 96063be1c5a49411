"""A linear memory that moves at every token, in blocks: the WY form.

Inside a block of C tokens that starts at state S, with γ_t = α_1 … α_t and D_ts = α_{s+1} … α_t (D⁻ its rows
shifted down by one, so that row t ends at token t - 1):

    (I + diag(η) (D⁻ ∘ K Kᵀ)) E = diag(η) (V - diag(γ_{t-1}) K S)         l2;  E = diag(η) V for dot
    S_C = γ_C S + (diag(D_C) K)ᵀ E                                        the only sequential step
    read after: Y = diag(γ_t) Q S + (D ∘ Q Kᵀ) E ;  before: γ_{t-1} and D⁻ instead

Suffixes: M = N·B·H (blocks, batch rows, heads), C tokens of a block, K key size, V value size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.decay import decay_matrix
from nestdsl.runtime.ops.linear_memory.inverse import BLOCK, unit_lower_inverse
from nestdsl.runtime.ops.linear_memory.rule import Rule
from nestdsl.runtime.ops.linear_memory.scan import decay_scan, delta_scan


class Running(NamedTuple):
    """All that reads need: keys [M, C, K], errors [M, C, V], the states at the blocks' starts
    starts [M, K, V], decays D [M, C, C] and first [M, C], the decay γ_t since the block's start."""

    keys: Tensor
    errors: Tensor
    starts: Tensor
    decays: Tensor
    first: Tensor


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


def before(decays: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
    """D⁻ [M, C, C] and γ_{t-1} [M, C]: the decays up to the token before."""
    size = first.shape[-1]
    shifted = F.pad(decays.narrow(-2, 0, size - 1), (0, 0, 1, 0))
    return shifted, F.pad(first.narrow(-1, 0, size - 1), (1, 0), value=1.0)


def learn(
    key: Tensor, value: Tensor, step: Tensor, retain: Tensor, matrix: Tensor, rule: Rule, block: int
) -> tuple[Running, Tensor]:
    """The trajectory from `matrix` [B, H, K, V] over key [B, T, H, K], value [B, T, H, V] and step and
    retain [B, T, H], and the matrix at its end. All in one floating-point type."""
    batch, heads, key_size, value_size = matrix.shape
    size = block_size(key.shape[1], block)
    keys, values = to_blocks(key, size), to_blocks(value, size)
    steps = to_blocks(step.unsqueeze(-1), size)
    retains = to_blocks(retain.unsqueeze(-1), size, 1.0).squeeze(-1)

    decays = decay_matrix(retains)
    first = decays[..., 0] * retains[..., :1]
    carried = keys * decays[:, -1].unsqueeze(-1)
    start = matrix.reshape(batch * heads, key_size, value_size)

    def stacked(blocks: Tensor) -> Tensor:
        return blocks.unflatten(0, (-1, batch * heads))

    ends = stacked(first[:, -1:].unsqueeze(-1))
    written = steps * values
    if rule.objective == "dot":
        errors, states = written, decay_scan(stacked(carried.transpose(-1, -2) @ written), ends, start)
    else:
        shifted, first_before = before(decays, first)
        inverse = unit_lower_inverse(steps * shifted * (keys @ keys.transpose(-1, -2)))
        answers = inverse @ (steps * first_before.unsqueeze(-1) * keys)
        errors, states = delta_scan(
            stacked(carried), ends, stacked(inverse @ written), stacked(answers), start
        )
        errors = errors.flatten(0, 1)
    if rule.gradient == "stop":
        # The writes are constants; what is left of the start in each state is its share after decay.
        left = torch.cat((torch.ones_like(ends[:1]), ends)).cumprod(0)
        errors, states = errors.detach(), states.detach() + left * (start - start.detach())
    starts, end = states.split((ends.shape[0], 1))
    # clone: a view would keep the whole trajectory alive for as long as the state is carried
    return Running(keys, errors, starts.flatten(0, 1), decays, first), end.clone().view_as(matrix)


def read(running: Running, query: Tensor, *, after: bool) -> Tensor:
    """What the memory answers to query [B, T, H, K]: [B, T, H, V]."""
    batch, tokens, heads, _ = query.shape
    decays, first = running.decays, running.first
    if not after:
        decays, first = before(decays, first)
    queries = to_blocks(query, running.keys.shape[1])
    inside = (decays * (queries @ running.keys.transpose(-1, -2))) @ running.errors
    return from_blocks(
        torch.baddbmm(inside, first.unsqueeze(-1) * queries, running.starts), batch, tokens, heads
    )


def states_before(running: Running, token: Tensor, batch: int, heads: int) -> Tensor:
    """The states [A, B, H, K, V] just before the tokens whose numbers, from 0 to T, token [A] holds."""
    count, size = running.keys.shape[0] // (batch * heads), running.keys.shape[1]
    number = (token // size).clamp_max(count - 1)
    rest = token - number * size
    keys, errors, starts, decays, first = (
        tensor.unflatten(0, (count, batch, heads)).index_select(0, number) for tensor in running
    )
    row = (rest - 1).clamp_min(0).view(-1, 1, 1, 1, 1)
    inside = decays.gather(-2, row.expand(*decays.shape[:3], 1, size)).squeeze(-2)
    inside = torch.where(rest.view(-1, 1, 1, 1) > 0, inside, 0.0)
    outside = F.pad(first, (1, 0), value=1.0).gather(-1, rest.view(-1, 1, 1, 1).expand(*first.shape[:3], 1))
    writes = (keys * inside.unsqueeze(-1)).transpose(-1, -2) @ errors
    return outside.unsqueeze(-1) * starts + writes
