"""A two-layer memory that stands still for a period of N tokens and then moves by their mean gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.deep_memory.rule import DeepRule
from nestdsl.runtime.ops.deep_memory.step import Chunk, Weights, write
from nestdsl.runtime.ops.deep_memory.windows import Flows, to_windows, windows_at, windows_in_order
from nestdsl.runtime.ops.memory_rule import State

SUMS = ("gradient_inner", "gradient_outer", "decay", "retain", "momentum")


def learn(flows: Flows, state: State, rule: DeepRule, *, aligned: bool = False) -> tuple[Weights, State]:
    """The weights [N + 1, P, ...] at the starts of the periods and after the last, and the next state.

    Arguments as in `chunked.learn`, all in one floating-point type. A period that began in an earlier call
    brings its sums along in the state; one that this call leaves unfinished hands them on.
    """
    key, value, step, retain, momentum = flows
    tokens, period, rows = key.shape[1], rule.period, state["inner"].shape[:2]
    position = torch.zeros_like(state["position"]) if aligned else state["position"]
    if aligned:
        windows = windows_in_order(tokens, period, key.device)
    else:
        windows = windows_at(tokens, period, position)
    member = windows.mask(rows[0] * rows[1])
    keys, values = to_windows(key, windows), to_windows(value, windows)
    steps = torch.where(member, rule.effective_step(to_windows(step, windows), keys), 0.0).unsqueeze(-1)
    retains = torch.where(member, to_windows(retain, windows), 0.0).sum(-1)
    momenta = torch.where(member, to_windows(momentum, windows), 0.0).sum(-1)
    count = keys.shape[0]
    ends = torch.arange(1, count + 1, device=key.device).unsqueeze(1) * period
    full = (ends <= position + tokens).repeat_interleave(rows[1], 1)  # [N, P]

    flat = {name: part.flatten(0, 1) for name, part in state.items() if name != "position"}
    starts = [Weights(flat["inner"], flat["outer"])]
    for n in range(count):
        sums = _gathered(keys[n], values[n], steps[n], retains[n], momenta[n], flat, rule)
        moved = _moved(sums, rule)
        flat = {
            name: torch.where(_like(full[n], part), moved[name], part) if name in moved else part
            for name, part in sums.items()
        }
        starts.append(Weights(flat["inner"], flat["outer"]))
    following = {name: part.unflatten(0, rows) for name, part in flat.items()}
    following["position"] = (position + tokens) % period
    held = Weights(torch.stack([w.inner for w in starts]), torch.stack([w.outer for w in starts]))
    return held, {name: following[name] for name in state}


def _like(mask: Tensor, part: Tensor) -> Tensor:
    """A mask [P] as one for a part [P, ...]."""
    return mask.view(-1, *(1 for _ in part.shape[1:]))


def _gathered(
    keys: Tensor,
    values: Tensor,
    steps: Tensor,
    retain: Tensor,
    momentum: Tensor,
    state: State,
    rule: DeepRule,
) -> State:
    """The state with what the tokens of one period bring added to its sums; the weights do not move."""
    weights = Weights(state["inner"], state["outer"])
    writes = write(Chunk(keys, values, steps, steps, steps), weights, weights, rule)
    across = keys.transpose(-1, -2)
    brought = {
        "gradient_inner": -(across @ writes.inner),
        "gradient_outer": -(writes.hidden.transpose(-1, -2) @ writes.outer),
        "retain": retain,
        "momentum": momentum,
    }
    if rule.decays_along_key:
        brought["decay"] = across @ (steps * (keys @ weights.inner))
    if rule.gradient == "stop":
        brought = {name: part.detach() for name, part in brought.items()}
    return {name: part + brought[name] if name in SUMS else part for name, part in state.items()}


def _moved(state: State, rule: DeepRule) -> State:
    """What one step by the means of a full period changes in the state."""
    means = {name: state[name] / rule.period for name in SUMS if name in state}
    moved = {name: torch.zeros_like(state[name]) for name in means}
    alpha = means["retain"].view(-1, 1, 1)
    for name in ("inner", "outer"):
        change = -means[f"gradient_{name}"]
        if rule.has_momentum:
            change = change + means["momentum"].view(-1, 1, 1) * state[f"momentum_{name}"]
            moved[f"momentum_{name}"] = change
        if name == "inner" and rule.decays_along_key:
            change = change - means["decay"]
        if rule.toward == "init":
            change = change + (1 - alpha) * state[f"start_{name}"]
        moved[name] = alpha * state[name] + change
    return moved
