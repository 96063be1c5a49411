"""The program of an optimizer in a plan that was read: see `verify.py`."""

from __future__ import annotations

import re

from nestdsl.graph.optimizer import GradientMemory, Line, Operand, OptimizerProgram, Schedule
from nestdsl.limits import MAX_OPTIMIZER_PARTS, MAX_WHOLE
from nestdsl.plan.wellformed import (
    ARITHMETIC,
    LONGEST,
    is_number,
    require,
    require_arguments,
    require_identifier,
    require_member,
    require_operands,
)
from nestdsl.semantics.elaborate.optimizers.shapes import ShapeError, shape_of
from nestdsl.vocabulary.gradient_memories import MEMORY_KINDS, MemoryKind
from nestdsl.vocabulary.shapes import CONSTANT, NUMBER, WEIGHT, Shape
from nestdsl.vocabulary.signatures import LIBRARY, Place
from nestdsl.vocabulary.timing import ReadTime

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\[[0-9]+\])?(\.[A-Za-z0-9_]+(\[[0-9]+\])?)*")
"""Memories and results: `m`, `slow[1]`, `update.4`."""


def verify_program(program: OptimizerProgram, given: tuple[str, ...] = ()) -> None:
    """Raises OddPlanError for what no optimizer of the language becomes.

    given: the parameters that another program hands on to it.
    """
    _Verifier(program).verify(given)


class _Verifier:
    """Follows the lines of one program: `shapes` are those of all that is there so far, by its name."""

    def __init__(self, program: OptimizerProgram) -> None:
        self.program = program
        self.place = f"the optimizer `{require_identifier(program.name, 'an optimizer', free=False)}`"
        self.memories = {one.name: one for one in program.memories}
        self.shapes: dict[str, Shape] = {"grad": WEIGHT, "weight": WEIGHT, "step_count": CONSTANT}
        self.biases: dict[str, str] = {}
        """The lines that say how far a moving average is from its start, each with that memory's name."""

    def verify(self, given: tuple[str, ...]) -> None:
        program, place = self.program, self.place
        parts = len(program.lines) + len(program.memories)
        require(parts <= MAX_OPTIMIZER_PARTS, f"{place} is too large")
        self._verify_parameters(given)
        require(len(self.memories) == len(program.memories), f"{place} has two memories of one name")
        for memory in program.memories:
            require(_is_name(memory.name), f"{place} has a memory of an odd name")
            require(memory.name not in self.shapes, f"`{memory.name}` of {place} is there twice")
            self.shapes[memory.name] = WEIGHT
        learned: set[str] = set()
        for line in program.lines:
            self._verify_line(line)
            if line.function == "learn":
                learned.add(line.result)
            self.shapes[line.result] = line.shape
        learns = sum(line.function == "learn" for line in program.lines)
        is_each = learned == set(self.memories) and learns == len(learned)
        require(is_each, f"the memories of {place} and what they learn differ")
        self._require_value(program.update)
        require(self.shapes[program.update] == WEIGHT, f"the update of {place} has not the weight's shape")
        if program.otherwise is not None:
            verify_program(program.otherwise, tuple(name for name, _ in program.otherwise_arguments))
        else:
            require(not program.otherwise_arguments, f"{place} hands on to none")
        for _, value in program.otherwise_arguments:
            require(self._shape(value) == CONSTANT, f"what {place} hands on is no number")

    def _verify_parameters(self, given: tuple[str, ...]) -> None:
        program, place = self.program, self.place
        scheduled = {schedule.parameter for schedule in program.schedules}
        require(len(scheduled) == len(program.schedules), f"{place} has two schedules of one parameter")
        names = {*given, *scheduled, *(name for name, _ in program.parameters)}
        for name in names:
            require_identifier(name, place, free=False)
            require(name not in self.shapes, f"{place} has a parameter of an odd name")
        self.shapes |= dict.fromkeys(names, CONSTANT)
        for name in program.structural:
            require_member(name, names, f"a structural parameter of {place}")
        for name, value in program.parameters:
            if not is_number(value) and name not in scheduled and name not in given:
                del self.shapes[name]  # a word, with which nothing is computed
        for schedule in program.schedules:
            _verify_schedule(schedule, place)

    def _verify_line(self, line: Line) -> None:
        here = f"`{line.result}` of {self.place}"
        require(_is_name(line.result), f"{self.place} has a result of an odd name")
        is_new = line.result not in self.shapes or line.function == "learn"
        require(is_new, f"{here} is there twice")
        count = len(line.operands)
        if line.function == "answer":
            require(count == 2, f"{here} is the answer of no memory")
            memory = self.memories.get(str(line.operands[0]))
            is_asked = memory is not None and bool(self._kind(memory).answer)
            require(is_asked, f"{here} is the answer of no memory")
        shapes = [self._shape(operand) for operand in line.operands]
        for operand in line.operands[line.function == "answer" :]:
            self._require_value(operand)
        if line.function not in LIBRARY.functions:
            wanted_options = {"memory"} if line.function == "bias" else set()
            is_fit = {name for name, _ in line.options} == wanted_options
            require(is_fit, f"{here} has options that `{line.function}` does not take")
        require(line.shape == self._made(line, shapes, here), f"{here} has another shape")

    def _made(self, line: Line, shapes: list[Shape], here: str) -> Shape:
        """The shape of what a line makes."""
        count = len(shapes)
        match line.function:
            case "learn":
                require_member(line.result, self.memories, f"what learns in {self.place}")
                self._verify_memory(self.memories[line.result], shapes)
                return WEIGHT
            case "answer":
                require(shapes[1] == WEIGHT, f"{here} asks with other keys")
                answer = self._kind(self.memories[str(line.operands[0])]).answer
                assert answer is not None  # which was seen before
                return answer
            case "bias":
                name = dict(line.options)["memory"]
                memory = self.memories.get(name) if isinstance(name, str) else None
                is_average = memory is not None and self._kind(memory).is_average
                require(is_average, f"{here} corrects no moving average")
                decays = memory is not None and line.operands == (dict(memory.arguments).get("decay"),)
                require(decays, f"{here} corrects by another decay")
                self.biases[line.result] = str(name)
                return CONSTANT
            case "debias":
                require(count == 2, f"{here} has {count} operands")
                average, bias = line.operands
                is_of_it = isinstance(bias, str) and self.biases.get(bias) == average
                require(is_of_it, f"{here} corrects no moving average")
                return shapes[0]
            case arithmetic if arithmetic in ARITHMETIC:
                require(count == ARITHMETIC[arithmetic], f"{here} has {count} operands")
            case name:
                require_member(name, LIBRARY.functions, f"the function of {here}")
                function = LIBRARY.functions[name]
                require(function.place is not Place.MODEL and not function.is_custom, f"{here} is of a model")
                require_operands(function, count, here)
                require(count <= 2, f"{here} has {count} operands")
                require_arguments(line.options, function.arguments, here)
        try:
            return shape_of(line.function, shapes)
        except ShapeError as error:
            require(False, f"{here} {error}")
            raise

    def _verify_memory(self, memory: GradientMemory, learned: list[Shape]) -> None:
        """A memory, where it learns: what it is made of is there then."""
        here = f"`{memory.name}` of {self.place}"
        kind = self._kind(memory)
        rates = {rate.name: rate for rate in kind.rates}
        require(sorted(name for name, _ in memory.arguments) == sorted(rates), f"{here} has odd arguments")
        for name, value in memory.arguments:
            shape, rate = self._shape(value), rates[name]
            is_fit = shape == CONSTANT or (shape == NUMBER and not rate.is_constant)
            require(is_fit, f"`{name}` of {here} is no number")
            known = dict(self.program.parameters).get(value) if isinstance(value, str) else value
            is_in_range = not is_number(known) or 0 <= known <= rate.most
            require(is_in_range, f"`{name}` of {here} is not between 0 and {rate.most:g}")
        require(memory.shape == WEIGHT, f"{here} has an odd shape")
        require(memory.read is not ReadTime.ANCHOR, f"{here} has no anchor to read")
        require_member(memory.reduce, ("mean", "sum"), f"what {here} gathers")
        is_fit = len(learned) == 1 + kind.learns_pairs and learned[0] == WEIGHT
        is_fit = is_fit and (not kind.learns_pairs or learned[1] in kind.values)
        require(is_fit, f"{here} cannot learn what it is given")
        options = dict(memory.options)
        require(set(options) == {one.name for one in kind.options}, f"{here} has odd options")
        is_sized = all(type(one) is int and 0 < one <= MAX_WHOLE for one in options.values())
        require(is_sized, f"{here} has an odd size")

    def _kind(self, memory: GradientMemory) -> MemoryKind:
        require_member(memory.kind, MEMORY_KINDS, f"the kind of `{memory.name}` of {self.place}")
        return MEMORY_KINDS[memory.kind]

    def _shape(self, operand: Operand) -> Shape:
        if not isinstance(operand, str):
            return CONSTANT
        require_member(operand, self.shapes, f"an operand of {self.place}")
        return self.shapes[operand]

    def _require_value(self, operand: Operand) -> None:
        """What is computed with has a value: a network only answers."""
        self._shape(operand)
        memory = self.memories.get(operand) if isinstance(operand, str) else None
        has_value = memory is None or not self._kind(memory).is_network
        require(has_value, f"`{operand}` of {self.place} has no value by itself")


def _is_name(name: str) -> bool:
    return len(name) <= LONGEST and bool(_NAME.fullmatch(name))


def _verify_schedule(schedule: Schedule, place: str) -> None:
    here = f"the schedule of `{schedule.parameter}` of {place}"
    require_member(schedule.shape, ("constant", "linear", "cosine"), f"the shape of {here}")
    require(0 <= schedule.floor <= 1, f"the floor of {here} is not between 0 and 1")
