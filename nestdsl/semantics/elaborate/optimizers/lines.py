"""The lines of an optimizer's program while it is elaborated, each said once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import gcd

from nestdsl.graph.optimizer import GradientMemory, Line, Operand
from nestdsl.semantics.elaborate.expressions import sign_of
from nestdsl.semantics.values.arithmetic import compute
from nestdsl.vocabulary.shapes import CONSTANT, Shape
from nestdsl.vocabulary.signatures import LIBRARY, Value


@dataclass(frozen=True, slots=True)
class Flow:
    """What an expression is: the operand of later lines, its shape, and after how many updates it changes.

    `period` is 0 for what never changes. `value` is that of a constant, as far as it is known now;
    `memory` the moving average that it is the state of.
    """

    operand: Operand
    shape: Shape
    period: int = 1
    value: float | None = None
    memory: GradientMemory | None = None


def number(value: int | float) -> Flow:
    """A number as a flow."""
    return Flow(value, CONSTANT, 0, float(value))


class Lines:
    """The lines of one optimizer, in the order in which they can run."""

    def __init__(self) -> None:
        self.all: list[Line] = []
        self._names: dict[str, int] = {}
        self._known: dict[tuple[object, ...], Flow] = {}
        self._constants: dict[Operand, tuple[Operand, ...]] = {}

    def line(
        self,
        function: str,
        flows: Sequence[Flow],
        shape: Shape,
        place: str,
        options: tuple[tuple[str, Value], ...] = (),
        period: int | None = None,
    ) -> Flow:
        """Adds a line, or finds the one that says the same."""
        operands = tuple(flow.operand for flow in flows)
        key = (function, operands, options)
        if key in self._known:
            return self._known[key]
        period = gcd(*(flow.period for flow in flows)) if period is None else period
        result = Flow(self._next_name(place), shape, period, self._value(function, flows, options))
        assert isinstance(result.operand, str)
        self.all.append(Line(result.operand, function, operands, shape, period, options))
        self._known[key] = result
        if shape == CONSTANT:
            self._constants[result.operand] = operands
        return result

    def values(self) -> dict[Operand, float]:
        """The values of constants, as far as they are known now, by their names."""
        return {flow.operand: flow.value for flow in self._known.values() if flow.value is not None}

    def names_in(self, flow: Flow, known: Collection[str] = ()) -> list[str]:
        """The names that a constant is computed from, without those that lead only to `known` results."""
        found: dict[str, None] = {}
        waiting = [flow.operand]
        while waiting:
            operand = waiting.pop()
            if isinstance(operand, str) and operand not in found and operand not in known:
                found[operand] = None
                waiting += self._constants.get(operand, ())
        return list(found)

    def _next_name(self, place: str) -> str:
        count = self._names[place] = self._names.get(place, 0) + 1
        return f"{place}.{count}"

    @staticmethod
    def _value(function: str, flows: Sequence[Flow], options: tuple[tuple[str, Value], ...]) -> float | None:
        """What a constant will be, where its parts are known; the runtime computes it again."""
        values = [flow.value for flow in flows]
        if any(value is None for value in values):
            return None
        try:
            match function, values:
                case "negate", (float() as one,):
                    return -one
                case _, (float() as one, float() as two) if sign_of(function) != function:
                    return float(compute(sign_of(function), one, two))
                case _ if function in LIBRARY.functions:
                    fold = LIBRARY.functions[function].fold
                    return None if fold is None else float(fold(*values, **dict(options)))
        except (ArithmeticError, ValueError):
            return None
        return None
