"""A linear memory as a loop over tokens that reads like its equations: the truth for `chunked`."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.rule import Read, Rule, State


def remember(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    step: Tensor,
    retain: Tensor,
    state: State,
    rule: Rule,
    read: Read,
) -> tuple[Tensor, Tensor, State]:
    """Learn and read token by token.

    query, key [B, T, H, K]; value [B, T, H, V]; step, retain [B, T, H]; state as `initial_state` makes it.
    Returns the outputs [B, T, H, V], the matrix after every token [B, T, H, K, V], and the next state.
    """
    matrix = state["matrix"]
    anchor = state.get("anchor", matrix)
    gradient_sum = state.get("gradient", torch.zeros_like(matrix))
    retain_sum = state.get("retain", torch.zeros_like(matrix[..., 0, 0]))
    position = int(state["position"]) if "position" in state else 0
    if rule.gradient == "stop":
        key, value, step, retain = key.detach(), value.detach(), step.detach(), retain.detach()

    outputs, matrices = [], []
    for t in range(key.shape[1]):
        k, v, q = key[:, t], value[:, t], query[:, t]
        if rule.chunk is not None and rule.period == 1 and position % rule.chunk == 0:
            anchor = matrix
        before = matrix

        answer = torch.einsum("bhkv,bhk->bhv", matrix, k) if rule.objective == "l2" else torch.zeros_like(v)
        error = step[:, t, :, None] * (v - answer)
        if rule.gradient == "stop":
            error = error.detach()
        write = torch.einsum("bhk,bhv->bhkv", k, error)

        position += 1
        if rule.period == 1:
            matrix = retain[:, t, :, None, None] * matrix + write
        else:
            gradient_sum = gradient_sum + write
            retain_sum = retain_sum + retain[:, t]
            if position % rule.period == 0:
                matrix = retain_sum[..., None, None] / rule.period * matrix + gradient_sum / rule.period
                gradient_sum, retain_sum = torch.zeros_like(gradient_sum), torch.zeros_like(retain_sum)
        matrices.append(matrix)

        match read:
            case "after":
                seen = matrix
            case "before":
                seen = before
            case "anchor":
                seen = anchor if rule.period == 1 else before
        outputs.append(torch.einsum("bhkv,bhk->bhv", seen, q))

    following = {"matrix": matrix}
    if rule.period > 1:
        following |= {"gradient": gradient_sum, "retain": retain_sum}
    if rule.keeps_anchor:
        following["anchor"] = matrix if position % (rule.chunk or 1) == 0 else anchor
    if "position" in state:
        cycle = rule.period if rule.period > 1 else (rule.chunk or 1)
        following["position"] = torch.full_like(state["position"], position % cycle)
    return torch.stack(outputs, 1), torch.stack(matrices, 1), following
