"""A program as the fast update runs it: which steps at which update, and what it is given from outside.

What is known before a step enters as numbers, in the form that the arithmetic needs: a division by a
number is a multiplication by its reciprocal, and 1 - decay is computed in double precision. Memories and
functions that are made of simple arithmetic are taken apart into it, so that it can run together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nestdsl.graph.optimizer import GradientMemory, Line, Operand, OptimizerProgram
from nestdsl.graph.optimizer_slots import gathered_names, kept_names, slots, state_names
from nestdsl.graph.optimizer_timing import is_due, timing
from nestdsl.runtime.optimizer.constants import Numbers
from nestdsl.runtime.optimizer.gradient_memories import RULES, Form, Given, Operated
from nestdsl.vocabulary.shapes import NUMBER, WEIGHT, MatrixShape, Shape
from nestdsl.vocabulary.signatures import Value
from nestdsl.vocabulary.timing import ReadTime

SCALE: Given = ("@scale", "value")
"""By what the whole update is multiplied, beside the program."""
KEEP: Given = ("@keep", "value")
"""By what the weight is multiplied, where decay is a factor (`decay.py`)."""


@dataclass(frozen=True, slots=True)
class Step:
    """`results = function(operands)`, of results, `@states`, literal numbers and what is given.

    shape: of the results, in the words of `Line.shape`.
    """

    function: str
    operands: tuple[Operated, ...]
    results: tuple[str, ...]
    shape: Shape
    options: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class Steps:
    """What runs at one kind of update.

    `writes` are the tensors that it changes, `weight` and `@states`, each by the result that becomes its
    value. `shapes` are those of all results, of states, and of `grad` and `weight`.
    """

    steps: tuple[Step, ...]
    writes: tuple[tuple[str, str], ...]
    shapes: dict[str, Shape]


def due_lines(program: OptimizerProgram, step_count: int) -> frozenset[str]:
    """Which results are computed, and which memories move, at an update."""
    when = timing(program)
    moving = {f"learn {memory.name}" for memory in program.memories if step_count % memory.period == 0}
    lines = {name for name, changes in when.changes.items() if is_due(changes, step_count)}
    return frozenset(moving | lines)


def steps_of(program: OptimizerProgram, due: frozenset[str], *, decays: bool) -> Steps:
    """What runs where the lines and memories `due` are; `decays`: the weight is multiplied by KEEP."""
    return _Reader(program, due).run(decays)


def value_of(given: Given, known: Numbers) -> float:
    """A number from outside in the form that is given."""
    name, form = given
    return _form(known[name], form)


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
        self.kept = kept_names(program)
        self.steps: list[Step] = []
        self.writes: dict[str, str] = {}
        self.shapes: dict[str, Shape] = {"grad": WEIGHT, "weight": WEIGHT}
        self.shapes |= {f"@{slot.name}": _shape(slot.shape) for slot in slots(program)}
        self.gathering: dict[tuple[Operand, ...], list[GradientMemory]] = {}
        """The memories so far by what they learn."""
        self.names: dict[str, tuple[str, ...]] = {
            memory.name: tuple(f"@{name}" for name in state_names(memory)) for memory in program.memories
        }
        """What each memory is as lines read it: the results or `@states` that it is made of."""

    def run(self, decays: bool) -> Steps:
        for line in self.program.lines:
            if line.function == "learn":
                self._learn(self.levels[line.result], line)
            elif line.result in self.timing.known:
                continue
            elif line.result in self.due:
                self._line(line)
            elif line.result in self.kept:
                self.names[line.result] = (f"@{self.kept[line.result]}",)
        update = self.operand(self.program.update)
        assert isinstance(update, str)
        weight = "weight"
        if decays:
            weight = self.add("multiply", (weight, KEEP), "weight kept", WEIGHT)
        change = self.add("multiply", (update, SCALE), "change", self.shapes[update])
        self.writes["weight"] = self.add("add", (weight, change), "weight next", WEIGHT)
        return Steps(self._needed(), tuple(self.writes.items()), self.shapes)

    def _needed(self) -> tuple[Step, ...]:
        """The steps without those that nothing comes of at this update."""
        needed, kept = set(self.writes.values()), []
        for step in reversed(self.steps):
            if needed.intersection(step.results):
                kept.append(step)
                needed.update(operand for operand in step.operands if isinstance(operand, str))
        return tuple(reversed(kept))

    def operand(self, operand: Operand, form: Form = "value") -> Operated:
        if not isinstance(operand, str):
            return _form(float(operand), form)
        if operand in self.timing.known:
            return (operand, form)
        if operand in self.names:
            (name,) = self.names[operand]
            return name
        return operand

    def add(
        self,
        function: str,
        operands: tuple[Operated, ...],
        result: str,
        shape: Shape,
        options: tuple[tuple[str, Value], ...] = (),
    ) -> str:
        self.steps.append(Step(function, operands, (result,), shape, options))
        self.shapes[result] = shape
        return result

    def _line(self, line: Line) -> None:
        name, shape = line.result, _shape(line.shape)
        match line.function:
            case "answer":
                memory, key = line.operands
                parts = self.names[str(memory)]
                function = RULES[self.levels[str(memory)].kind].answering
                self.add(function, (*parts, self.operand(key)), name, shape)
            case "divide" | "debias" if self._is_known(line.operands[1]):
                one, other = line.operands
                self.add("multiply", (self.operand(one), self.operand(other, "reciprocal")), name, shape)
            case ("normalize" | "rms_match") as function:
                x = self.operand(line.operands[0])
                by = self.add(f"divisor of {function}", (x,), f"{name} divisor", NUMBER, line.options)
                self.add("divide", (x, by), name, shape)
            case function:
                operands = tuple(self.operand(operand) for operand in line.operands)
                self.add("divide" if function == "debias" else function, operands, name, shape, line.options)
        if name in self.kept:
            self.writes[f"@{self.kept[name]}"] = name

    def _is_known(self, operand: Operand) -> bool:
        return not isinstance(operand, str) or operand in self.timing.known

    # --- memories --------------------------------------------------------------------------

    def _learn(self, level: GradientMemory, line: Line) -> None:
        inputs: list[Operated] = [self.operand(operand) for operand in line.operands]
        is_moving = f"learn {level.name}" in self.due
        feeding = self._feeding(level, line)
        self.gathering.setdefault(line.operands, []).append(level)
        if feeding is not None:
            if f"learn {feeding.name}" not in self.due:
                return
            inputs = [f"{name} now" for name in gathered_names(feeding)]
        for position, name in enumerate(gathered_names(level)):
            shape = self.shapes[f"@{name}"]
            now = self.add("add", (f"@{name}", inputs[position]), f"{name} now", shape)
            inputs[position] = self.writes[f"@{name}"] = now
            if is_moving:
                if level.reduce == "mean":
                    inputs[position] = self.add("multiply", (now, 1 / level.period), f"{name} mean", shape)
                self.writes[f"@{name}"] = self.add("zero", (f"@{name}",), f"{name} again", shape)
        if is_moving:
            following = RULES[level.kind].steps(_MemoryWriter(self, level), tuple(inputs))
            self.writes |= {
                f"@{name}": value for name, value in zip(state_names(level), following, strict=True)
            }
            if level.read is ReadTime.AFTER:
                self.names[level.name] = following

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


class _MemoryWriter:
    """Takes down the steps by which one memory moves; the last makes its next state."""

    def __init__(self, reader: _Reader, level: GradientMemory) -> None:
        self._reader, self._level = reader, level
        self._rates = dict(level.arguments)
        self.states = tuple(f"@{name}" for name in state_names(level))
        self._shape = reader.shapes[self.states[0]]
        self._count = 0

    def rate(self, name: str, form: Form = "value") -> Operated:
        return self._reader.operand(self._rates[name], form)

    def is_number(self, operand: Operated) -> bool:
        return not isinstance(operand, str) or self._reader.shapes[operand] == NUMBER

    def add(self, function: str, *operands: Operated, like: str = "") -> str:
        self._count += 1
        shape = self._reader.shapes[like] if like else self._shape
        return self._reader.add(function, operands, f"{self._level.name} {self._count}", shape)

    def add_all(self, function: str, *operands: Operated) -> tuple[str, ...]:
        results = tuple(f"{name} next" for name in state_names(self._level))
        self._reader.steps.append(Step(function, operands, results, self._shape))
        shapes = (self._reader.shapes[state] for state in self.states)
        self._reader.shapes |= dict(zip(results, shapes, strict=True))
        return results


def _shape(shape: Shape) -> Shape:
    """What is one number for each weight is kept as a matrix of one."""
    return NUMBER if shape == MatrixShape("1", "1") else shape
