"""Rows of states: some of them by themselves, those of several states as one, some that begin again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from nestdsl.diagnostics import fail
from nestdsl.runtime.block import Block
from nestdsl.runtime.kinds.attention import Attention
from nestdsl.runtime.learning.plastic import Plastic
from nestdsl.runtime.learning.reading import WAITING
from nestdsl.runtime.state import State


def take_rows(state: State, rows: Tensor) -> State:
    """The rows of a state whose numbers `rows` [any] holds, in that order."""
    return tree_map(lambda part: part.index_select(0, rows.to(part.device)), state)


def join_rows(block: Block, states: Sequence[State]) -> State:
    """One state with the rows of all, in their order, wherever in its context each stands.

    Raises NestError N0501 for states of which some have learned from surprise and others not, or whose tokens
    wait for their labels.
    """
    if any(WAITING in state for state in states):
        raise _odd("tokens wait for their labels in one of the states")
    joined: State = {}
    for name in block.program.kept:
        part, of_each = getattr(block, name, None), [state[name] for state in states]
        if isinstance(part, Attention):
            joined[name] = part.join(of_each)
        elif isinstance(part, nn.ModuleList):
            pairs = zip(part, zip(*of_each, strict=True), strict=True)
            joined[name] = [join_rows(copy, of_copy) for copy, of_copy in pairs]  # type: ignore[arg-type]
        elif isinstance(part, Block):
            joined[name] = join_rows(part, of_each)
        else:
            joined[name] = _joined(of_each)
    return joined


def reset_rows(block: Block, state: State, fresh: State, rows: Tensor) -> State:
    """The state in which the rows where `rows` [B] is true begin a context, and the others go on.

    fresh: a state at the start of a context. Raises NestError N0501 where tokens wait for their labels.
    """
    if WAITING in state:
        raise _odd("tokens wait for their labels in the state")
    following: State = {}
    for name in block.program.kept:
        part, own = getattr(block, name, None), state[name]
        if isinstance(part, Attention):
            following[name] = part.reset_rows(own, rows)
        elif isinstance(part, nn.ModuleList):
            copies = zip(part, own, fresh[name], strict=True)
            following[name] = [reset_rows(copy, old, new, rows) for copy, old, new in copies]  # type: ignore[arg-type]
        elif isinstance(part, Block):
            following[name] = reset_rows(part, own, fresh[name], rows)
        else:
            new = fresh[name]
            if isinstance(part, Plastic) and "weights" in own:
                new = {**new, **part.start(len(rows))}
            following[name] = _chosen(rows, new, own)
    return following


def _joined(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if any(part.keys() != first.keys() for part in parts):
        raise _odd("a level has learned from surprise in some of the states, and in others not")
    return {name: _joined([part[name] for part in parts]) for name in first}


def _chosen(rows: Tensor, new: Any, old: Any) -> Any:
    """new where a row is chosen, else old."""
    if isinstance(old, Tensor):
        mask = rows.to(old.device).view(-1, *(1 for _ in old.shape[1:]))
        return torch.where(mask, new.to(old.device, old.dtype), old)
    return {name: _chosen(rows, new[name], part) for name, part in old.items()}


def _odd(what: str) -> Exception:
    return fail(
        "N0501", f"rows of these states cannot be joined or reset: {what}", "read on first, without `learn`"
    )
