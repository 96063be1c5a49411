"""A linear memory in blocks of tokens: equal to `naive` in value and gradient, and fast.

Nothing here asks a tensor for its value: shapes follow from the number of tokens, the position in a
chunk or a period stays a tensor, and `torch.compile(fullgraph=True)` compiles once for each number of tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory import periods, running
from nestdsl.runtime.ops.linear_memory.anchors import chunk_start
from nestdsl.runtime.ops.linear_memory.coupled import Flows, Parts
from nestdsl.runtime.ops.linear_memory.groups import group_count, read_held
from nestdsl.runtime.ops.linear_memory.moving import move
from nestdsl.runtime.ops.linear_memory.rule import LinearRule
from nestdsl.runtime.ops.linear_memory.running import Running
from nestdsl.runtime.ops.linear_memory.writes import Call, known_writes
from nestdsl.runtime.ops.memory_rule import Read, State

BLOCK = 32


class Trajectory(NamedTuple):
    """How the state moved during one call, for any number of reads.

    running: the state at every token, None if the memory has a period. held: the states at the starts of the
    periods [G, B, H, K, V]; or, at the start of the chunk in which the call began [1, B, H, K, V]; None if
    nothing reads those. position [B]: where the call began in the first of them; aligned: it is 0.
    """

    running: Running | None
    held: Tensor | None
    position: Tensor | None
    aligned: bool = False


def learn(
    key: Tensor,
    value: Tensor,
    step: Tensor,
    retain: Tensor,
    state: State,
    rule: LinearRule,
    *,
    momentum: Tensor | None = None,
    aligned: bool = False,
    within: bool = False,
    block: int = BLOCK,
) -> tuple[Trajectory, State]:
    """Write T tokens. Returns the trajectory, to be read, and the next state.

    key [B, T, H, K]; value [B, T, H, V]; step [B, T, H]; retain [B, T, H], or [B, T, H, K] for one value per
    key channel; momentum [B, T, H] if the rule has it; both from 0 to 1; state as `initial_state` makes it.
    Three things change the speed only: `block`, at most 16 or a multiple of 16; `aligned`, the caller's word
    that the call begins where a chunk or a period begins; and `within`, that it does not go beyond the chunk
    that it begins in.
    Computes in the state's type and at least in float32, also under autocast.
    Raises ValueError for a factor that the rule lacks or has no place for.
    """
    if block < 1 or (block > 16 and block % 16):
        raise ValueError(f"block must be at most 16 or a multiple of 16, not {block}")
    rule.require_factors(key, retain, momentum)
    kind = torch.promote_types(torch.promote_types(key.dtype, torch.float32), state["matrix"].dtype)
    state = {name: part.to(kind) if part.is_floating_point() else part for name, part in state.items()}
    key, value, step, retain = key.to(kind), value.to(kind), step.to(kind), retain.to(kind)
    momentum = None if momentum is None else momentum.to(kind)
    if rule.gradient == "stop":
        key, value, step, retain = key.detach(), value.detach(), step.detach(), retain.detach()
        momentum = None if momentum is None else momentum.detach()
    with torch.autocast(key.device.type, enabled=False):
        step = rule.effective_step(step, key)
        if rule.period > 1:
            held, following = periods.learn(key, value, step, retain, momentum, state, rule, aligned=aligned)
            return Trajectory(None, held, state["position"], aligned), following
        within = within or rule.chunk is None or (aligned and key.shape[1] <= rule.chunk)
        call = Call(block, aligned, within)
        trajectory, following = _learn_running(key, value, step, retain, momentum, state, rule, call)
        # In the order in which they came: what is compiled for one state is compiled for the next.
        return trajectory, {name: following[name] for name in state}


def _learn_running(
    key: Tensor,
    value: Tensor,
    step: Tensor,
    retain: Tensor,
    momentum: Tensor | None,
    state: State,
    rule: LinearRule,
    call: Call,
) -> tuple[Trajectory, State]:
    """With `start`, on the states' distance from it: then α decays to zero, and what the start would have
    answered goes into the values. The step is the effective one."""
    start, position = state.get("start"), state.get("position")
    anchor = _anchor(state, call.aligned) if rule.is_stale else None
    parts = Parts(state["matrix"], state.get("momentum"), anchor)
    if rule.gradient == "stop" and parts.momentum is not None:
        parts = parts._replace(momentum=parts.momentum.detach())
    direct_write = None
    if start is not None:
        parts = Parts(parts.matrix - start, parts.momentum, None if anchor is None else anchor - start)
        answers = torch.einsum("bthk,bhkv->bthv", key, start)
        value = value if rule.objective == "dot" else value - answers
        direct_write = -step.unsqueeze(-1) * answers if rule.decays_along_key else None
    live = None if momentum is None else torch.ones_like(step)
    flows = Flows(key, value, direct_write, step, retain, momentum, live)

    write, chunk = known_writes(flows, parts, position, rule, call)
    flows, stop = flows._replace(write=write), rule.gradient == "stop"
    ran, after = move(flows, parts, position, chunk, rule, call.block, stop=stop, aligned=call.aligned)
    return _followed(ran._replace(origin=start), after, key.shape[1], state, rule, call)


def _anchor(state: State, aligned: bool) -> Tensor:
    """The matrix at the start of the chunk in which a call begins."""
    return state["matrix"] if aligned or "anchor" not in state else state["anchor"]


def _followed(
    ran: Running, after: Parts, tokens: int, state: State, rule: LinearRule, call: Call
) -> tuple[Trajectory, State]:
    """The trajectory, and the next state from what the blocks ended with."""
    start = state.get("start")
    following = {"matrix": after.matrix if start is None else after.matrix + start}
    if after.momentum is not None:
        following["momentum"] = after.momentum
    if start is not None:
        following["start"] = start
    if not rule.keeps_anchor:
        return Trajectory(ran, None, None), following
    chunk, position = rule.chunk or 1, state["position"]
    anchor = _anchor(state, call.aligned)
    trajectory = Trajectory(ran, anchor.unsqueeze(0), position, call.aligned)
    following["position"] = (position + tokens) % chunk
    if call.aligned and (call.within or tokens % chunk == 0):
        # A tensor of its own, as everywhere else: what is compiled knows which of its inputs are the same.
        following["anchor"] = anchor if tokens < chunk else following["matrix"].view_as(anchor)
        return trajectory, following
    if call.within:
        begins = (following["position"] == 0).view(-1, 1, 1, 1)
        following["anchor"] = torch.where(begins, following["matrix"], anchor)
        return trajectory, following
    # What the blocks carried is the same state, but without the start's share under a stopped gradient.
    if after.anchor is not None and rule.gradient == "through":
        following["anchor"] = after.anchor if start is None else after.anchor + start
        return trajectory, following
    batch, heads = after.matrix.shape[:2]
    last = chunk_start(torch.full_like(position, tokens), position, chunk)
    inside = running.states_before(ran, last.clamp_min(0).unsqueeze(0), batch, heads).squeeze(0)
    following["anchor"] = torch.where((last >= 0).view(-1, 1, 1, 1), inside, state["anchor"])
    return trajectory, following


def read(trajectory: Trajectory, query: Tensor, mode: Read, rule: LinearRule) -> Tensor:
    """What the memory answers to query [B, T, H, K], one query for each token that was written: [B, T, H, V].

    The answer has the query's type. Raises ValueError if the rule keeps nothing for such a read.
    """
    mode = rule.resolve(mode)
    with torch.autocast(query.device.type, enabled=False):
        if rule.period > 1 or mode == "anchor":
            if trajectory.held is None or trajectory.position is None:
                raise ValueError("this trajectory was learned under another rule")
            queries = query.to(trajectory.held.dtype)
            held, length = trajectory.held, rule.period
            if trajectory.running is not None:
                held, length = _chunk_starts(trajectory, query, rule), rule.chunk or 1
            position = trajectory.position + (1 if mode == "after" else 0)
            if held.shape[0] == 1:
                return torch.einsum("bthk,bhkv->bthv", queries, held[0]).to(query.dtype)
            return read_held(held, queries, length, position).to(query.dtype)
        if trajectory.running is None:
            raise ValueError("this trajectory was learned under another rule")
        queries = query.to(trajectory.running.keys.dtype)
        return running.read(trajectory.running, queries, after=mode == "after").to(query.dtype)


def _chunk_starts(trajectory: Trajectory, query: Tensor, rule: LinearRule) -> Tensor:
    """The states at the starts of the chunks [G, B, H, K, V]: the carried one, then those inside the call.

    Chunk g starts at the call's token g · chunk - position.
    """
    assert trajectory.running is not None and trajectory.held is not None and trajectory.position is not None
    batch, tokens, heads, _ = query.shape
    chunk = rule.chunk or 1
    count = group_count(tokens, chunk, trajectory.aligned)
    if count == 1:
        return trajectory.held
    number = torch.arange(1, count, device=query.device).unsqueeze(1)
    begins = (number * chunk - trajectory.position).clamp(0, tokens)
    return torch.cat((trajectory.held, running.states_before(trajectory.running, begins, batch, heads)))
