"""A program as the fast update runs it: which lines at which update, and what it is given from outside.

What is known before a step enters as numbers, in the form that the arithmetic needs: a division by a
number is a multiplication by its reciprocal, and 1 - decay is computed in double precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch

from nestdsl.graph.optimizer import GradientMemory, Line, Operand, OptimizerProgram
from nestdsl.graph.optimizer_slots import gathered_names, state_names
from nestdsl.graph.optimizer_timing import is_due, timing
from nestdsl.runtime.optimizer import memories as rules
from nestdsl.runtime.optimizer.constants import Numbers
from nestdsl.runtime.optimizer.functions import FUNCTIONS, MATRIX_FUNCTIONS

Form = Literal["value", "reciprocal", "rest"]
Given = tuple[str, Form]
"""A number from outside: its name and what is given of it: itself, 1 / itself, or 1 - itself."""

SCALE: Given = ("@scale", "value")
"""By what the whole update is multiplied, beside the program."""
KEEP: Given = ("@keep", "value")
"""By what the weight is multiplied, where decay is a factor (`decay.py`)."""


@dataclass(frozen=True, slots=True)
class Step:
    """`results = function(operands)`: of results, states, literal numbers and what is given."""

    function: Callable[..., Any]
    operands: tuple[str | float | Given, ...]
    results: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Steps:
    """What runs at one kind of update. `given` are the numbers from outside that it takes.

    `reads` are the tensors kept for each weight that it starts from; `writes` those that it changes,
    each by the result that becomes its value.
    """

    steps: tuple[Step, ...]
    update: str
    given: tuple[Given, ...]
    reads: tuple[str, ...]
    writes: tuple[tuple[str, str], ...]


def due_lines(program: OptimizerProgram, step_count: int) -> frozenset[str]:
    """Which results are computed, and which memories move, at an update."""
    when = timing(program)
    moving = {f"learn {memory.name}" for memory in program.memories if step_count % memory.period == 0}
    lines = {name for name, changes in when.changes.items() if is_due(changes, step_count)}
    return frozenset(moving | lines)


def is_elementwise(program: OptimizerProgram) -> bool:
    """Whether each element of a weight moves for itself, whatever the shape."""
    functions = {line.function for line in program.lines}
    kinds = {memory.kind for memory in program.memories}
    return not (functions & (MATRIX_FUNCTIONS | {"rows", "columns", "answer"}) or kinds - {"ema", "sum_of"})


def steps_of(program: OptimizerProgram, due: frozenset[str]) -> Steps:
    """What runs where the lines and memories `due` are."""
    return _Reader(program, due).run()


def numbers(given: tuple[Given, ...], known: Numbers) -> list[float]:
    """The numbers that steps take from outside."""
    return [_form(known[name], form) for name, form in given]


def _form(value: float, form: Form) -> float:
    match form:
        case "value":
            return value
        case "rest":
            return 1 - value
        case _:
            return 1 / value if value else math.copysign(math.inf, value)


class _Reader:
    def __init__(self, program: OptimizerProgram, due: frozenset[str]) -> None:
        self.program, self.due = program, due
        self.timing = timing(program)
        self.levels = {memory.name: memory for memory in program.memories}
        self.kept = {line.result for line in self.timing.kept}
        self.steps: list[Step] = []
        self.writes: dict[str, str] = {}
        self.gathering: dict[tuple[Operand, ...], list[GradientMemory]] = {}
        """The memories so far by what they learn."""
        self.names: dict[str, tuple[str, ...]] = {
            memory.name: tuple(f"@{name}" for name in state_names(memory)) for memory in program.memories
        }
        """What each memory is as lines read it: the results or `@states` that it is made of."""

    def run(self) -> Steps:
        for line in self.program.lines:
            if line.function == "learn":
                self._learn(self.levels[line.result], line)
            elif line.result in self.timing.known:
                continue
            elif line.result in self.due:
                self._line(line)
            elif line.result in self.kept:
                self.names[line.result] = (f"@{line.result}",)
        update = self._operand(self.program.update)
        assert isinstance(update, str)
        used = [operand for step in self.steps for operand in step.operands]
        given = dict.fromkeys(operand for operand in used if isinstance(operand, tuple))
        reads = dict.fromkeys(
            name[1:] for name in (*used, update) if isinstance(name, str) and name.startswith("@")
        )
        return Steps(tuple(self.steps), update, tuple(given), tuple(reads), tuple(self.writes.items()))

    def _operand(self, operand: Operand, form: Form = "value") -> str | float | Given:
        if not isinstance(operand, str):
            return _form(float(operand), form) if form != "value" else operand
        if operand in self.timing.known:
            return (operand, form)
        if operand in self.names:
            (name,) = self.names[operand]
            return name
        return operand

    def _add(self, function: Callable[..., Any], operands: tuple[Any, ...], *results: str) -> None:
        self.steps.append(Step(function, operands, results))

    def _line(self, line: Line) -> None:
        name = line.result
        match line.function:
            case "answer":
                memory, key = line.operands
                parts = self.names[str(memory)]
                function = _answered if len(parts) == 1 else _network
                self._add(function, (*parts, self._operand(key)), name)
            case "divide" | "debias" if self._is_known(line.operands[1]):
                one, other = line.operands
                self._add(
                    FUNCTIONS["multiply"], (self._operand(one), self._operand(other, "reciprocal")), name
                )
            case _:
                function = FUNCTIONS[line.function]
                if line.options:
                    function = partial(function, **dict(line.options))
                self._add(function, tuple(self._operand(operand) for operand in line.operands), name)
        if name in self.kept:
            self.writes[name] = name

    def _feeding(self, level: GradientMemory, line: Line) -> GradientMemory | None:
        """A faster memory that gathers the same: its sums, when it moves, stand for those of each step."""
        faster = [
            other
            for other in self.gathering.get(line.operands, ())
            if other.period > 1
            and level.period % other.period == 0
            and len(gathered_names(other)) == len(gathered_names(level))
        ]
        return max(faster, key=lambda other: other.period, default=None)

    def _is_known(self, operand: Operand) -> bool:
        return not isinstance(operand, str) or operand in self.timing.known

    def _learn(self, level: GradientMemory, line: Line) -> None:
        inputs = [self._operand(operand) for operand in line.operands]
        is_moving = f"learn {level.name}" in self.due
        feeding = self._feeding(level, line)
        self.gathering.setdefault(line.operands, []).append(level)
        if feeding is not None:
            if f"learn {feeding.name}" not in self.due:
                return
            inputs = [f"{name} now" for name in gathered_names(feeding)]
        for position, name in enumerate(gathered_names(level)):
            self._add(FUNCTIONS["add"], (f"@{name}", inputs[position]), f"{name} now")
            inputs[position] = self.writes[name] = f"{name} now"
            if is_moving:
                if level.reduce == "mean":
                    self._add(FUNCTIONS["multiply"], (inputs[position], 1 / level.period), f"{name} mean")
                    inputs[position] = f"{name} mean"
                self._add(_zeros, (f"@{name}",), f"{name} anew")
                self.writes[name] = f"{name} anew"
        if not is_moving:
            return
        states = state_names(level)
        arguments = dict(level.arguments)
        named = [self._operand(arguments[name]) for name in _ARGUMENTS[level.kind]]
        if level.kind == "ema":
            named.append(self._operand(arguments["decay"], "rest"))
        following = tuple(f"{name} next" for name in states)
        self._add(_RULES[level.kind], (*(f"@{name}" for name in states), *inputs, *named), *following)
        self.writes |= dict(zip(states, following, strict=True))
        if level.read == "after":
            self.names[level.name] = following


def _zeros(x: Any) -> Any:
    return torch.zeros_like(x)


def _answered(state: Any, key: Any) -> Any:
    return state @ key.mT


def _network(inner: Any, outer: Any, key: Any) -> Any:
    return rules.network((inner, outer), key)


def _learned(inner: Any, outer: Any, key: Any, value: Any, step: Any, retain: Any) -> Any:
    return rules.learned((inner, outer), key, value, step, retain)


_ARGUMENTS = {
    "ema": ("decay",),
    "sum_of": ("decay",),
    "matrix": ("step", "retain"),
    "associative": ("step", "retain"),
}
_RULES: dict[str, Callable[..., Any]] = {
    "ema": rules.ema,
    "sum_of": rules.sum_of,
    "matrix": rules.matrix,
    "associative": _learned,
}
