"""A linear memory that stands still for a period of N tokens and then moves by their mean gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.groups import group, group_count, taken
from nestdsl.runtime.ops.linear_memory.objective import direction
from nestdsl.runtime.ops.linear_memory.rule import LinearRule
from nestdsl.runtime.ops.memory_rule import State


def learn(
    key: Tensor,
    value: Tensor,
    step: Tensor,
    retain: Tensor,
    momentum: Tensor | None,
    state: State,
    rule: LinearRule,
    *,
    aligned: bool,
) -> tuple[Tensor, State]:
    """The states at the starts of the periods [G, B, H, K, V], and the next state.

    key [B, T, H, K], value [B, T, H, V], step (the effective one), retain, momentum [B, T, H], all in one
    floating-point type. A period that began in an earlier call brings its sums along in the state; one that
    this call leaves unfinished hands them on. aligned: the call begins with a period.
    """
    position, tokens, period = state["position"], key.shape[1], rule.period
    groups = group(tokens, period, position, group_count(tokens, period, aligned))
    count = groups.index.shape[1]
    member = groups.member.transpose(0, 1).unsqueeze(2)  # [G, B, 1, W]

    def windows(flow: Tensor) -> Tensor:
        windows = taken(flow, groups.index)
        return windows.permute(1, 0, 3, 2, *range(4, windows.dim()))  # [G, B, H, W, ...]

    def sums(factor: Tensor) -> Tensor:
        return torch.where(member, windows(factor), 0.0).sum(-1)

    keys, values = windows(key), windows(value)
    steps = torch.where(member, windows(step), 0.0).unsqueeze(-1)
    gathered = {"retain": sums(retain)}
    if momentum is not None:
        gathered["momentum_sum"] = sums(momentum)
    ends = torch.arange(1, count + 1, device=position.device).unsqueeze(1) * period
    full = ends <= position + tokens  # [G, B]

    now = dict(state)
    if "momentum" in now and rule.gradient == "stop":
        now["momentum"] = now["momentum"].detach()
    states = [now["matrix"]]
    for g in range(count):
        answers = keys[g] @ now["matrix"]
        writes = {"gradient": steps[g] * direction(values[g], answers, rule)}
        if rule.decays_along_key:
            writes["decay"] = steps[g] * answers
        for name, write in writes.items():
            if rule.gradient == "stop":
                write = write.detach()
            now[name] = now[name] + keys[g].transpose(-1, -2) @ write
        for name, factor in gathered.items():
            now[name] = now[name] + factor[g]
        now = {
            name: torch.where(full[g].view(-1, *(1 for _ in part.shape[1:])), part, now[name])
            for name, part in _moved(now, rule).items()
        }
        states.append(now["matrix"])
    now["position"] = (position + tokens) % period
    return torch.stack(states), now


def _moved(state: State, rule: LinearRule) -> State:
    """The state after the step that ends a period."""
    following = {name: torch.zeros_like(part) for name, part in state.items()}
    start, push = state.get("start"), state["gradient"] / rule.period
    if start is not None:
        following["start"] = start
    if "momentum" in state:
        push = state["momentum_sum"][..., None, None] / rule.period * state["momentum"] + push
        following["momentum"] = push
    retain = state["retain"][..., None, None] / rule.period
    matrix = state["matrix"]
    matrix = retain * matrix if start is None else start + retain * (matrix - start)
    following["matrix"] = matrix + push - (state["decay"] / rule.period if "decay" in state else 0.0)
    return following
