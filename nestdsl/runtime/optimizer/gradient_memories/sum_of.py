"""`sum_of(decay)`: a decaying sum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nestdsl.runtime.optimizer.gradient_memories.rule import Number, Operated, Rule, State, StepWriter


def _move(state: State, learned: tuple[Any, ...], rates: Mapping[str, Number]) -> State:
    """m = decay m + x."""
    (m,), (x,) = state, learned
    return (rates["decay"] * m + x,)


def _steps(writer: StepWriter, learned: tuple[Operated, ...]) -> tuple[str, ...]:
    (m,), (x,) = writer.states, learned
    return (writer.add("add", writer.add("multiply", m, writer.rate("decay")), x),)


SUM_OF = Rule("sum_of", _move, _steps)
