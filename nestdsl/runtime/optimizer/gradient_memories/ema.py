"""`ema(decay)`: a moving average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nestdsl.runtime.optimizer.gradient_memories.rule import Number, Operated, Rule, State, StepWriter


def _move(state: State, learned: tuple[Any, ...], rates: Mapping[str, Number]) -> State:
    """m = decay m + (1 - decay) x."""
    (m,), (x,), decay = state, learned, rates["decay"]
    return (decay * m + (1 - decay) * x,)


def _steps(writer: StepWriter, learned: tuple[Operated, ...]) -> tuple[str, ...]:
    (m,), (x,) = writer.states, learned
    new = writer.add("multiply", x, writer.rate("decay", "rest"))
    return (writer.add("add", writer.add("multiply", m, writer.rate("decay")), new),)


EMA = Rule("ema", _move, _steps)
