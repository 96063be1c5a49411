"""A two-layer memory as a loop over tokens that reads like its equations: the truth for `chunked`."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.deep_memory.pointwise import activate, error, slope
from nestdsl.runtime.ops.deep_memory.rule import DeepRule
from nestdsl.runtime.ops.linear_memory.naive import one_position
from nestdsl.runtime.ops.memory_rule import Read, State


def answer(query: Tensor, inner: Tensor, outer: Tensor, rule: DeepRule) -> Tensor:
    """M(q): query [B, H, K], inner [B, H, K, D], outer [B, H, D, V] → [B, H, V]."""
    hidden = activate(torch.einsum("bhk,bhkd->bhd", query, inner), rule.activation)
    out = torch.einsum("bhd,bhdv->bhv", hidden, outer)
    return query + out if rule.residual else out


def gradients(
    key: Tensor, value: Tensor, inner: Tensor, outer: Tensor, rule: DeepRule
) -> tuple[Tensor, Tensor]:
    """The objective's gradients with respect to inner and outer, for one token; the value is a constant."""
    z = torch.einsum("bhk,bhkd->bhd", key, inner)
    e = error(answer(key, inner, outer, rule), value, rule)
    back = slope(z, rule.activation) * torch.einsum("bhv,bhdv->bhd", e, outer)
    return _outer_product(key, back), _outer_product(activate(z, rule.activation), e)


def remember(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    step: Tensor,
    retain: Tensor,
    momentum: Tensor | None,
    state: State,
    rule: DeepRule,
    read: Read,
) -> tuple[Tensor, State]:
    """Learn and read token by token.

    query, key [B, T, H, K]; value [B, T, H, V]; step, retain, momentum [B, T, H]; state as `initial_state`
    makes it; momentum None without. Returns the outputs [B, T, H, V] and the next state.
    """
    rule.require(key, value, retain, momentum)
    momentum = torch.zeros_like(step) if momentum is None else momentum
    length = rule.period if rule.period > 1 else rule.chunk
    position = one_position(state)
    inner, outer = state["inner"], state["outer"]
    anchor = (state.get("anchor_inner", inner), state.get("anchor_outer", outer))
    surprise = (_part(state, "momentum_inner", inner), _part(state, "momentum_outer", outer))
    home = (_part(state, "start_inner", inner), _part(state, "start_outer", outer))
    sums = (
        _part(state, "gradient_inner", inner),
        _part(state, "gradient_outer", outer),
        _part(state, "decay", inner),
        _part(state, "retain", inner[..., 0, 0]),
        _part(state, "momentum", inner[..., 0, 0]),
    )
    if rule.gradient == "stop":
        key, value, step = key.detach(), value.detach(), step.detach()
        retain, momentum = retain.detach(), momentum.detach()
        surprise = (surprise[0].detach(), surprise[1].detach())

    outputs = []
    for t in range(key.shape[1]):
        k, v = key[:, t], value[:, t]
        if rule.period == 1 and position % length == 0:
            anchor = (inner, outer)
        before = (inner, outer)
        at = before if rule.period > 1 else anchor

        eta = rule.effective_step(step[:, t], k)[..., None, None]
        gradient_inner, gradient_outer = (eta * gradient for gradient in gradients(k, v, at[0], at[1], rule))
        decay = torch.zeros_like(inner)
        if rule.decays_along_key:
            decay = eta * _outer_product(k, torch.einsum("bhk,bhkd->bhd", k, inner))
        if rule.gradient == "stop":
            gradient_inner, gradient_outer = gradient_inner.detach(), gradient_outer.detach()
            decay = decay.detach()

        moves = (gradient_inner, gradient_outer, decay, retain[:, t], momentum[:, t])
        position += 1
        if rule.period > 1:
            sums = tuple(total + move for total, move in zip(sums, moves, strict=True))
            moves = tuple(total / rule.period for total in sums)
        if position % rule.period == 0:
            gradient_inner, gradient_outer, decay, alpha, mu = moves
            alpha, mu = alpha[..., None, None], mu[..., None, None]
            if not rule.has_momentum:
                mu = torch.zeros_like(mu)
            surprise = (mu * surprise[0] - gradient_inner, mu * surprise[1] - gradient_outer)
            inner = alpha * inner + (1 - alpha) * home[0] - decay + surprise[0]
            outer = alpha * outer + (1 - alpha) * home[1] + surprise[1]
            sums = tuple(torch.zeros_like(total) for total in sums)

        seen = {"after": (inner, outer), "before": before, "anchor": at}[read]
        outputs.append(answer(query[:, t], seen[0], seen[1], rule))

    if position % length == 0:
        anchor = (inner, outer)
    parts = {
        "inner": inner,
        "outer": outer,
        "anchor_inner": anchor[0],
        "anchor_outer": anchor[1],
        "momentum_inner": surprise[0],
        "momentum_outer": surprise[1],
        "start_inner": home[0],
        "start_outer": home[1],
        **dict(zip(("gradient_inner", "gradient_outer", "decay", "retain", "momentum"), sums, strict=True)),
        "position": torch.full((len(key),), position % length, device=key.device),
    }
    return torch.stack(outputs, 1), {name: parts[name] for name in state}


def _part(state: State, name: str, like: Tensor) -> Tensor:
    return state[name] if name in state else torch.zeros_like(like)


def _outer_product(left: Tensor, right: Tensor) -> Tensor:
    return torch.einsum("bhi,bhj->bhij", left, right)
