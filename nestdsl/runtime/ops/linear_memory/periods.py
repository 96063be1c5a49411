"""A linear memory that stands still for a period of N tokens and then moves by their mean gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.groups import group, group_count
from nestdsl.runtime.ops.linear_memory.rule import Rule, State


def learn(
    key: Tensor, value: Tensor, step: Tensor, retain: Tensor, state: State, rule: Rule
) -> tuple[Tensor, State]:
    """The states at the starts of the periods [G, B, H, K, V], and the next state.

    key [B, T, H, K], value [B, T, H, V], step, retain [B, T, H], all in one floating-point type.
    A period that began in an earlier call brings its sums along in the state; one that this call
    leaves unfinished hands them on.
    """
    matrix, gradient, position = state["matrix"], state["gradient"], state["position"]
    tokens, period = key.shape[1], rule.period
    groups = group(tokens, period, position, group_count(tokens, period))
    count, width = groups.index.shape

    def windows(flow: Tensor) -> Tensor:
        taken = flow.index_select(1, groups.index.flatten()).unflatten(1, (count, width))
        return taken.permute(1, 0, 3, 2, *range(4, taken.dim()))  # [G, B, H, W, ...]

    member = groups.member.view(count, 1, 1, width)
    steps = torch.where(member, windows(step), 0.0).unsqueeze(-1)
    retains = torch.where(member, windows(retain), 0.0).sum(-1)
    keys = windows(key)
    sources, answers = steps * windows(value), steps * keys
    full = torch.arange(1, count + 1, device=position.device) * period <= position + tokens

    kept = state["retain"]
    states = [matrix]
    for g in range(count):
        error = sources[g] - answers[g] @ matrix if rule.objective == "l2" else sources[g]
        if rule.gradient == "stop":
            error = error.detach()
        gradient = gradient + keys[g].transpose(-1, -2) @ error
        kept = kept + retains[g]
        moved = (kept[..., None, None] * matrix + gradient) / period
        matrix = torch.where(full[g], moved, matrix)
        gradient = torch.where(full[g], 0.0, gradient)
        kept = torch.where(full[g], 0.0, kept)
        states.append(matrix)
    following = {
        "matrix": matrix,
        "gradient": gradient,
        "retain": kept,
        "position": (position + tokens) % period,
    }
    return torch.stack(states), following
