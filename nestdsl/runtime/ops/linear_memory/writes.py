"""What is known of a token's writes before the blocks are worked on.

A gradient at the running state, or at a chunk's start inside the call, is left to the blocks: they solve for
it as long as it is linear in the memory. Gradients that are not linear are taken here, chunk by chunk: each
chunk needs the state that it starts with, and given that state its writes are one product.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.coupled import Flows, Parts
from nestdsl.runtime.ops.linear_memory.groups import group, group_count, taken
from nestdsl.runtime.ops.linear_memory.moving import move
from nestdsl.runtime.ops.linear_memory.objective import direction
from nestdsl.runtime.ops.linear_memory.rule import LinearRule


class Call(NamedTuple):
    """What is known of a call beforehand. block: how many tokens to work on at once; aligned: it begins with
    a chunk; within: it does not go beyond the chunk that it begins in."""

    block: int
    aligned: bool
    within: bool


def known_writes(
    flows: Flows, parts: Parts, position: Tensor | None, rule: LinearRule, call: Call
) -> tuple[Tensor, int | None]:
    """The known part of w [B, T, H, V], and the chunk at whose start the blocks take the rest of the
    gradient, None if nothing is left to take there.

    flows: as for the blocks, but with the values in place of the writes; parts: what the call begins with,
    and the anchor where the rule is stale.
    """
    factor = flows.step.unsqueeze(-1)
    if not rule.is_stale or parts.anchor is None:
        return factor * flows.write, None
    if call.within:
        answers = torch.einsum("bthk,bhkv->bthv", flows.key, parts.anchor)
        return factor * direction(flows.write, answers, rule), None
    if rule.objective == "lp":
        begun = flows.key.new_zeros(flows.key.shape[0], dtype=torch.int64) if position is None else position
        return _chunk_by_chunk(flows, parts, begun, rule, call.block, call.aligned), None
    return factor * flows.write, rule.chunk


def _chunk_by_chunk(
    flows: Flows, parts: Parts, position: Tensor, rule: LinearRule, block: int, aligned: bool
) -> Tensor:
    """w_t = b_t · direction(v_t, S_ξᵀ k_t), S_ξ being the state where token t's chunk begins."""
    tokens = flows.key.shape[1]
    aligned = aligned or rule.chunk is None or rule.chunk == 1
    length = rule.chunk or tokens
    groups = group(tokens, length, position, group_count(tokens, length, aligned))
    count = groups.index.shape[1]
    anchor, written = parts.anchor, []
    assert anchor is not None
    parts = parts._replace(anchor=None)
    for g in range(count):
        window = _window(flows, groups.index[:, g], groups.member[:, g].unsqueeze(-1))
        answers = torch.einsum("bthk,bhkv->bthv", window.key, anchor)
        write = window.step.unsqueeze(-1) * direction(window.write, answers, rule)
        written.append(write)
        if g + 1 < count:
            window = window._replace(write=write)
            _, parts = move(window, parts, None, None, rule, block, stop=False, aligned=False)
            anchor = parts.matrix
    return taken(torch.cat(written, 1), groups.place)


def _window(flows: Flows, index: Tensor, member: Tensor) -> Flows:
    """The tokens `index` [B, W], of which those that are no `member` [B, W, 1] leave everything as it is."""

    def own(flow: Tensor, fill: float) -> Tensor:
        mask = member.unsqueeze(-1) if flow.dim() == 4 else member
        return torch.where(mask, taken(flow, index), fill)

    return Flows(
        own(flows.key, 0.0),
        own(flows.write, 0.0),
        None if flows.direct is None else own(flows.direct, 0.0),
        own(flows.step, 0.0),
        own(flows.retain, 1.0),
        None if flows.momentum is None else own(flows.momentum, 1.0),
        None if flows.live is None else own(flows.live, 0.0),
    )
