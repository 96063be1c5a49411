"""`matrix(step, retain)`: a delta rule over the rows of a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nestdsl.runtime.optimizer.gradient_memories.rule import Number, Operated, Rule, State, StepWriter


def _move(state: State, learned: tuple[Any, ...], rates: Mapping[str, Number]) -> State:
    """m = retain m - step (m keyᵀ - value) key, where a number means so many times the identity."""
    (m,), (key, value) = state, learned
    step, retain = rates["step"], rates["retain"]
    if isinstance(value, Tensor) and value.ndim and value.shape[-2:] != (1, 1):
        return (retain * m - step * (_error(m, key, value) @ key),)
    return (retain * m - step * (_seen(m, key) - value * key),)


def _steps(writer: StepWriter, learned: tuple[Operated, ...]) -> tuple[str, ...]:
    (m,), (key, value) = writer.states, learned
    if isinstance(value, str) and not writer.is_number(value):
        against = writer.add("matmul", writer.add("error", m, key, value, like=value), key)
    else:
        seen, wanted = writer.add("seen", m, key), writer.add("multiply", key, value)
        against = writer.add("subtract", seen, wanted)
    change = writer.add("multiply", against, writer.rate("step"))
    return (writer.add("subtract", writer.add("multiply", m, writer.rate("retain")), change),)


def _answer(state: State, key: Tensor) -> Tensor:
    """m keyᵀ."""
    (m,) = state
    return m @ key.mT


def _error(m: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return m @ key.mT - value


def _seen(m: Tensor, key: Tensor) -> Tensor:
    """m keyᵀ key, by the shorter way."""
    is_tall = m.shape[-2] > m.shape[-1]
    return m @ (key.mT @ key) if is_tall else (m @ key.mT) @ key


MATRIX = Rule(
    "matrix",
    _move,
    _steps,
    _answer,
    "answer of a matrix",
    {"error": _error, "seen": _seen, "answer of a matrix": lambda m, key: _answer((m,), key)},
)
