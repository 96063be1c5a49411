"""States: nested dicts of tensors, each with the batch in front, and how compiled passes take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]
"""What a body keeps for each sequence: a dict for each stateful level and block, a list for copies."""
POSITION = "position"
"""The key under which a body that runs in chunks keeps how many tokens of its cycle each row has read."""
Path = tuple[str | int, ...]
"""Where a part stands in a state."""


def get(state: Any, path: Path) -> Any:
    """The part of a state at a path."""
    for key in path:
        state = state[key]
    return state


def put(state: Any, path: Path, part: Any) -> Any:
    """A state with another part at a path; nothing is changed in place."""
    if not path:
        return part
    changed = put(state[path[0]], path[1:], part)
    if isinstance(state, list):
        return [changed if number == path[0] else old for number, old in enumerate(state)]
    return {**state, path[0]: changed}


def settled(state: Any) -> Any:
    """The same state with its keys in order, and each tensor contiguous and an object of its own.

    Compiled code is bound to all of these; so it serves every pass, whatever the state came from.
    """
    return _settled(state, set())


def _settled(state: Any, seen: set[int]) -> Any:
    if isinstance(state, dict):
        return {key: _settled(state[key], seen) for key in sorted(state)}
    if isinstance(state, list):
        return [_settled(part, seen) for part in state]
    if not isinstance(state, Tensor):
        return state
    # Where states go on from token to token they look so already, and many views would take their time.
    if type(state) is Tensor and not state.requires_grad and state.is_contiguous() and id(state) not in seen:
        seen.add(id(state))
        return state
    return state.contiguous().view_as(state)


def cut(state: Any, *, differentiable: bool) -> Any:
    """A state like `settled` without its graph, but for the starts to which retention lets memories return.

    Those are no state that moved but the learned start itself, to which every segment leads back.
    With `differentiable` all of it has a gradient, as a state that nothing has moved yet has.
    """
    return _each(state, lambda part: _detached(part, differentiable))


def with_starts(state: Any, before: Any) -> Any:
    """The state with the starts to which memories return as they were before a pass, which only hands them
    on: so their graph leads to the weights alone, and not through the pass."""
    match state:
        case dict() if isinstance(before, dict):
            return {
                key: before[key]
                if key.startswith("start") and isinstance(before.get(key), Tensor)
                else with_starts(part, before.get(key))
                for key, part in state.items()
            }
        case list() if isinstance(before, list):
            return [with_starts(part, old) for part, old in zip(state, before, strict=True)]
        case _:
            return state


def separate(state: Any, *, differentiable: bool) -> Any:
    """The state at the start of a context, laid out as `cut` leaves those of later segments.

    It keeps its graph, which leads to the learned starts.
    """
    return _each(state, lambda part: _apart(part, differentiable))


def _detached(part: Tensor, differentiable: bool) -> Tensor:
    part = part.detach().contiguous()
    return part.requires_grad_() if differentiable and part.is_floating_point() else part


def _apart(part: Tensor, differentiable: bool) -> Tensor:
    """A tensor of its own, where two parts of the state began as one."""
    part = part.clone(memory_format=torch.contiguous_format)
    if differentiable and part.is_floating_point() and not part.requires_grad:
        part.requires_grad_()
    return part


def _each(state: Any, change: Callable[[Tensor], Tensor], name: str = "") -> Any:
    match state:
        case dict():
            return {key: _each(state[key], change, key) for key in sorted(state)}
        case list():
            return [_each(part, change) for part in state]
        case Tensor() if not name.startswith("start"):
            return change(state)
        case _:
            return state
