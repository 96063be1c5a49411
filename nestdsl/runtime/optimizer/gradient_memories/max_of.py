"""`max_of(decay)`: a decaying maximum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nestdsl.runtime.optimizer.functions import FUNCTIONS
from nestdsl.runtime.optimizer.gradient_memories.rule import Number, Operated, Rule, State, StepWriter


def _move(state: State, learned: tuple[Any, ...], rates: Mapping[str, Number]) -> State:
    """m = max(decay m, x)."""
    (m,), (x,) = state, learned
    return (FUNCTIONS["max"](rates["decay"] * m, x),)


def _steps(writer: StepWriter, learned: tuple[Operated, ...]) -> tuple[str, ...]:
    (m,), (x,) = writer.states, learned
    return (writer.add("max", writer.add("multiply", m, writer.rate("decay")), x),)


MAX_OF = Rule("max_of", _move, _steps)
