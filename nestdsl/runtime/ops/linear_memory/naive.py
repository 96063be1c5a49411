"""A linear memory as a loop over tokens that reads like its equations: the truth for `chunked`."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.objective import direction
from nestdsl.runtime.ops.linear_memory.rule import LinearRule
from nestdsl.runtime.ops.memory_rule import Read, State


def remember(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    step: Tensor,
    retain: Tensor,
    state: State,
    rule: LinearRule,
    read: Read,
    momentum: Tensor | None = None,
) -> tuple[Tensor, Tensor, State]:
    """Learn and read token by token.

    query, key [B, T, H, K]; value [B, T, H, V]; step [B, T, H]; retain [B, T, H], or [B, T, H, K] for one
    value per key channel; momentum [B, T, H] if the rule has it; state as `initial_state` makes it.
    Returns the outputs [B, T, H, V], the matrix after every token [B, T, H, K, V], and the next state.
    """
    rule.require_factors(key, retain, momentum)
    momentum = torch.zeros_like(step) if momentum is None else momentum
    if retain.dim() < key.dim():
        retain = retain.unsqueeze(-1)
    matrix = state["matrix"]
    zero, zeros = torch.zeros_like(matrix), torch.zeros_like(matrix[..., 0, 0])
    anchor, start = state.get("anchor", matrix), state.get("start", zero)
    surprise = state.get("momentum", zero)
    write_sum, decay_sum = state.get("gradient", zero), state.get("decay", zero)
    retain_sum, momentum_sum = state.get("retain", zeros), state.get("momentum_sum", zeros)
    position = one_position(state)
    if rule.gradient == "stop":
        key, value, step, retain = key.detach(), value.detach(), step.detach(), retain.detach()
        momentum, surprise = momentum.detach(), surprise.detach()

    outputs, matrices = [], []
    for t in range(key.shape[1]):
        k, v, q = key[:, t], value[:, t], query[:, t]
        if rule.chunk is not None and rule.period == 1 and position % rule.chunk == 0:
            anchor = matrix
        before = matrix

        eta = rule.effective_step(step[:, t], k)[..., None]
        alpha, mu = retain[:, t, :, :, None], momentum[:, t, :, None, None]
        asked = anchor if rule.is_stale else matrix
        if rule.forget_first:
            asked = start + alpha * (matrix - start)
        write = outer_product(k, eta * direction(v, recall(asked, k), rule))
        decay = outer_product(k, eta * recall(matrix, k)) if rule.decays_along_key else zero
        if rule.gradient == "stop":
            write, decay = write.detach(), decay.detach()

        position += 1
        if rule.period > 1:
            write_sum, decay_sum = write_sum + write, decay_sum + decay
            retain_sum, momentum_sum = retain_sum + retain[:, t, :, 0], momentum_sum + momentum[:, t]
            write, decay = write_sum / rule.period, decay_sum / rule.period
            alpha, mu = retain_sum[..., None, None] / rule.period, momentum_sum[..., None, None] / rule.period
        if position % rule.period == 0:
            surprise = mu * surprise + write
            matrix = start + alpha * (matrix - start) - decay + surprise
            write_sum, decay_sum, retain_sum, momentum_sum = zero, zero, zeros, zeros
        matrices.append(matrix)

        match read:
            case "after":
                seen = matrix
            case "before":
                seen = before
            case "anchor":
                seen = anchor if rule.period == 1 else before
        outputs.append(recall(seen, q))

    cycle = rule.period if rule.period > 1 else (rule.chunk or 1)
    following = {
        "matrix": matrix,
        "momentum": surprise,
        "start": start,
        "gradient": write_sum,
        "decay": decay_sum,
        "retain": retain_sum,
        "momentum_sum": momentum_sum,
        "anchor": matrix if position % cycle == 0 else anchor,
        "position": torch.full((len(key),), position % cycle, dtype=torch.int64, device=key.device),
    }
    return torch.stack(outputs, 1), torch.stack(matrices, 1), {name: following[name] for name in state}


def one_position(state: State) -> int:
    """Where all rows stand in their chunk or period: rows at several places are read one at a time."""
    found = set(state["position"].tolist()) if "position" in state else {0}
    if len(found) != 1:
        raise ValueError("rows at several places are read one at a time")
    return found.pop()


def recall(matrix: Tensor, query: Tensor) -> Tensor:
    """Sᵀ q: matrix [B, H, K, V], query [B, H, K] → [B, H, V]."""
    return torch.einsum("bhkv,bhk->bhv", matrix, query)


def outer_product(left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("bhk,bhv->bhkv", left, right)
