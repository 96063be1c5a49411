"""A linear memory in blocks of tokens: equal to `naive` in value and gradient, and fast.

Nothing here asks a tensor for its value: shapes follow from the number of tokens, the position in a
chunk or a period stays a tensor, and `torch.compile(fullgraph=True)` compiles once for each number of tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory import periods, running
from nestdsl.runtime.ops.linear_memory.groups import group_count, read_held
from nestdsl.runtime.ops.linear_memory.rule import Read, Rule, State
from nestdsl.runtime.ops.linear_memory.running import Running

BLOCK = 32


class Trajectory(NamedTuple):
    """How the state moved during one call, for any number of reads.

    running: the state at every token, None if the memory has a period. held [G, B, H, K, V]: the states at
    the starts of the chunks or periods, and position, a scalar, where the call began in the first of them;
    None if nothing reads those.
    """

    running: Running | None
    held: Tensor | None
    position: Tensor | None


def learn(
    key: Tensor,
    value: Tensor,
    step: Tensor,
    retain: Tensor,
    state: State,
    rule: Rule,
    *,
    block: int = BLOCK,
) -> tuple[Trajectory, State]:
    """Write T tokens. Returns the trajectory, to be read, and the next state.

    key [B, T, H, K]; value [B, T, H, V]; step [B, T, H]; retain [B, T, H], from 0 to 1; state as
    `initial_state` makes it. `block` changes the speed only: at most 16, or a multiple of 16.
    Computes in the state's type and at least in float32, also under autocast.
    """
    if block < 1 or (block > 16 and block % 16):
        raise ValueError(f"block must be at most 16 or a multiple of 16, not {block}")
    kind = torch.promote_types(torch.promote_types(key.dtype, torch.float32), state["matrix"].dtype)
    state = {name: part.to(kind) if part.is_floating_point() else part for name, part in state.items()}
    key, value, step, retain = key.to(kind), value.to(kind), step.to(kind), retain.to(kind)
    if rule.gradient == "stop":
        key, value, step, retain = key.detach(), value.detach(), step.detach(), retain.detach()
    with torch.autocast(key.device.type, enabled=False):
        if rule.period > 1:
            held, following = periods.learn(key, value, step, retain, state, rule)
            return Trajectory(None, held, state["position"]), following
        ran, matrix = running.learn(key, value, step, retain, state["matrix"], rule, block)
        if not rule.keeps_anchor:
            return Trajectory(ran, None, None), {"matrix": matrix}
        return _anchored(ran, matrix, key.shape[1], state, rule)


def _anchored(
    ran: Running, matrix: Tensor, tokens: int, state: State, rule: Rule
) -> tuple[Trajectory, State]:
    """Keep the states at the starts of the chunks: the carried one, then those inside the call.

    Chunk g starts at the call's token g · chunk - position; the last of them may be the one that the next
    call begins with or in.
    """
    batch, heads = matrix.shape[:2]
    chunk, position = rule.chunk or 1, state["position"]
    number = torch.arange(1, group_count(tokens, chunk) + 1, device=position.device)
    begins = (number * chunk - position).clamp(0, tokens)
    inside = running.states_before(ran, begins, batch, heads)
    held = torch.cat((state["anchor"].unsqueeze(0), inside))
    end = position + tokens
    anchor = held.index_select(0, (end // chunk).view(1)).squeeze(0)
    following = {"matrix": matrix, "anchor": anchor, "position": end % chunk}
    return Trajectory(ran, held, position), following


def read(trajectory: Trajectory, query: Tensor, mode: Read, rule: Rule) -> Tensor:
    """What the memory answers to query [B, T, H, K], one query for each token that was written: [B, T, H, V].

    The answer has the query's type. Raises ValueError if the rule keeps nothing for such a read.
    """
    mode = rule.resolve(mode)
    with torch.autocast(query.device.type, enabled=False):
        if (
            trajectory.held is not None
            and trajectory.position is not None
            and (rule.period > 1 or mode == "anchor")
        ):
            length = rule.period if rule.period > 1 else (rule.chunk or 1)
            position = trajectory.position + (1 if mode == "after" else 0)
            return read_held(trajectory.held, query.to(trajectory.held.dtype), length, position).to(
                query.dtype
            )
        if trajectory.running is None:
            raise ValueError("this trajectory was learned under another rule")
        queries = query.to(trajectory.running.keys.dtype)
        return running.read(trajectory.running, queries, after=mode == "after").to(query.dtype)
