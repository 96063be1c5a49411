"""A two-layer memory chunk by chunk: equal to `naive` in value and gradient, and fast.

The gradients of a chunk's tokens are batched products in closed form; what the weights become token by
token is never formed, reads go through what the tokens wrote, layer by layer (as in TTT-MLP). Nothing here
asks a tensor for its value: shapes follow from the number of tokens, and `torch.compile(fullgraph=True)`
compiles once for each.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nestdsl.runtime.ops.deep_memory import periods
from nestdsl.runtime.ops.deep_memory.coefficients import Coefficients, coefficients
from nestdsl.runtime.ops.deep_memory.pointwise import activate
from nestdsl.runtime.ops.deep_memory.rule import DeepRule
from nestdsl.runtime.ops.deep_memory.scan import Path, scan
from nestdsl.runtime.ops.deep_memory.step import Weights, Writes
from nestdsl.runtime.ops.deep_memory.windows import (
    Flows,
    Windows,
    from_windows,
    to_windows,
    windows_at,
    windows_in_order,
)
from nestdsl.runtime.ops.memory_rule import Read, State


class Running(NamedTuple):
    """How the weights moved: keys [N, P, W, K], what each chunk wrote, the weights at its first token
    [N, P, ...], what α decays to [P, ...] (None for zero), and the factors of all these."""

    keys: Tensor
    writes: Writes
    starts: Weights
    home: Weights | None
    factors: Coefficients


class Trajectory(NamedTuple):
    """How the weights moved during one call, for any number of reads.

    windows: how the call's tokens fall into chunks; None with a period. held: the weights [N, P, ...] at
    which the gradients were taken, for "anchor" reads, or those of each period, and then position, where the
    call began in the first of them. running: None with a period.
    """

    windows: Windows | None
    running: Running | None
    held: Weights
    position: Tensor | None


def learn(
    key: Tensor,
    value: Tensor,
    step: Tensor,
    retain: Tensor,
    momentum: Tensor | None,
    state: State,
    rule: DeepRule,
    *,
    aligned: bool = False,
    within: bool = False,
) -> tuple[Trajectory, State]:
    """Write T tokens. Returns the trajectory, to be read, and the next state.

    key [B, T, H, K]; value [B, T, H, V]; step, retain [B, T, H] and, with momentum, momentum [B, T, H],
    retain and momentum from 0 to 1; state as `initial_state` makes it. Computes in the state's type and at
    least in float32, also under autocast. aligned: the caller's word that the call begins where a chunk or a
    period does, which saves the work of one more chunk; within: that it does not go beyond the chunk that it
    begins in. Raises ValueError if the sizes do not fit the rule.
    """
    rule.require(key, value, retain, momentum)
    kind = torch.promote_types(torch.promote_types(key.dtype, torch.float32), state["inner"].dtype)
    state = {name: part.to(kind) if part.is_floating_point() else part for name, part in state.items()}
    momentum = torch.zeros_like(step) if momentum is None else momentum
    flows = Flows(*(flow.to(kind) for flow in (key, value, step, retain, momentum)))
    if rule.gradient == "stop":
        flows = Flows(*(flow.detach() for flow in flows))
        constant = ("momentum_inner", "momentum_outer")
        state = {name: part.detach() if name in constant else part for name, part in state.items()}
    with torch.autocast(key.device.type, enabled=False):
        if rule.period > 1:
            held, following = periods.learn(flows, state, rule, aligned=aligned)
            return Trajectory(None, None, held, state["position"]), following
        return _learn_running(flows, state, rule, aligned, within)


def _learn_running(
    flows: Flows, state: State, rule: DeepRule, aligned: bool, within: bool
) -> tuple[Trajectory, State]:
    key = flows.key
    tokens, (batch, heads) = key.shape[1], state["inner"].shape[:2]
    if aligned or within or rule.chunk == 1:
        windows = windows_in_order(tokens, rule.chunk, key.device)
    else:
        windows = windows_at(tokens, rule.chunk, state["position"])
    flat = {name: part.flatten(0, 1) for name, part in state.items() if name != "position"}
    start = Weights(flat["inner"], flat["outer"], flat.get("momentum_inner"), flat.get("momentum_outer"))
    home = Weights(flat["start_inner"], flat["start_outer"]) if rule.toward == "init" else None
    anchor = None
    if rule.keeps_anchor and not aligned:
        anchor = Weights(flat["anchor_inner"], flat["anchor_outer"])

    laid = Flows(*(to_windows(flow, windows) for flow in flows))
    factors, chunks = coefficients(
        laid, windows.mask(batch * heads), None if home is None else home.inner, rule
    )
    path = scan(chunks, start, anchor, home, rule)
    held = path.starts if anchor is None else _with_first(path.starts, anchor)
    trajectory = Trajectory(windows, Running(laid.key, path.writes, path.starts, home, factors), held, None)
    return trajectory, _next_state(path, held, state, rule, tokens, (batch, heads), aligned)


def _with_first(starts: Weights, anchor: Weights) -> Weights:
    return Weights(
        torch.cat((anchor.inner.unsqueeze(0), starts.inner[1:])),
        torch.cat((anchor.outer.unsqueeze(0), starts.outer[1:])),
    )


def _next_state(
    path: Path,
    held: Weights,
    state: State,
    rule: DeepRule,
    tokens: int,
    rows: tuple[int, int],
    aligned: bool,
) -> State:
    """The weights after the call, and where in its chunk the next call begins."""
    parts = {"inner": path.end.inner, "outer": path.end.outer}
    if path.end.inner_momentum is not None and path.end.outer_momentum is not None:
        parts |= {"momentum_inner": path.end.inner_momentum, "momentum_outer": path.end.outer_momentum}
    following = {}
    if rule.keeps_anchor:
        position = state["position"]
        end = torch.full_like(position, tokens) if aligned else position + tokens
        for name, weights, last in (
            ("anchor_inner", held.inner, path.end.inner),
            ("anchor_outer", held.outer, path.end.outer),
        ):
            if aligned:
                number = tokens // rule.chunk
                parts[name] = last if number == weights.shape[0] else weights[number]
            else:
                reached = (end // rule.chunk).repeat_interleave(rows[1])
                row = torch.arange(len(reached), device=reached.device)
                parts[name] = torch.cat((weights, last.unsqueeze(0)))[reached, row]
        following["position"] = end % rule.chunk
    following |= {name: part.unflatten(0, rows) for name, part in parts.items()}
    return {name: following.get(name, part) for name, part in state.items()}


def read(trajectory: Trajectory, query: Tensor, mode: Read, rule: DeepRule) -> Tensor:
    """What the memory answers to query [B, T, H, K], one query for each token that was written: [B, T, H, V].

    The answer has the query's type. Raises ValueError if the trajectory was learned under another rule.
    """
    mode = rule.resolve(mode)
    batch, tokens = query.shape[:2]
    with torch.autocast(query.device.type, enabled=False):
        queries = query.to(trajectory.held.inner.dtype)
        if rule.period > 1:
            if trajectory.position is None:
                raise ValueError("this trajectory was learned under another rule")
            position = trajectory.position + (1 if mode == "after" else 0)
            windows = windows_at(tokens, rule.period, position, trajectory.held.inner.shape[0])
        elif trajectory.windows is None:
            raise ValueError("this trajectory was learned under another rule")
        else:
            windows = trajectory.windows
        queries = to_windows(queries, windows)
        if trajectory.running is None or mode == "anchor":
            answers = _answer(queries, trajectory.held, rule)
        else:
            answers = _answer_running(queries, trajectory.running, mode == "after", rule)
        return from_windows(answers, windows, batch, tokens).to(query.dtype)


def _answer(queries: Tensor, weights: Weights, rule: DeepRule) -> Tensor:
    """M(q) for weights that do not move: queries [N, P, W, K] → [N, P, W, V]."""
    answers = activate(queries @ weights.inner, rule.activation) @ weights.outer
    return queries + answers if rule.residual else answers


def _answer_running(queries: Tensor, running: Running, after: bool, rule: DeepRule) -> Tensor:
    """M_t(q_t) for weights that move at every token, layer by layer."""
    factors = running.factors if after else running.factors.before()
    starts, home, writes = running.starts, running.home, running.writes
    likeness = queries @ running.keys.transpose(-1, -2)
    before = factors.first * (queries @ starts.inner)
    if writes.erased is not None:
        before = before + (factors.decays * likeness) @ writes.erased
    if writes.erased is None or rule.has_momentum:
        before = before + (factors.spread * likeness) @ writes.inner
    if home is not None:
        before = before + (1 - factors.first) * (queries @ home.inner)
    if factors.moving is not None and starts.inner_momentum is not None:
        before = before + factors.moving * (queries @ starts.inner_momentum)

    hidden = activate(before, rule.activation)
    likeness = hidden @ writes.hidden.transpose(-1, -2)
    answers = factors.first * (hidden @ starts.outer) + (factors.spread * likeness) @ writes.outer
    if home is not None:
        answers = answers + (1 - factors.first) * (hidden @ home.outer)
    if factors.moving is not None and starts.outer_momentum is not None:
        answers = answers + factors.moving * (hidden @ starts.outer_momentum)
    return queries + answers if rule.residual else answers
