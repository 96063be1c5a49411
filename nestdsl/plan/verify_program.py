"""The program of an optimizer in a plan that was read: see `verify.py`."""

from __future__ import annotations

import re

from nestdsl.graph.optimizer import CONSTANT, NUMBER, WEIGHT, GradientMemory, Line, Operand, OptimizerProgram
from nestdsl.library.signatures import LIBRARY, Place, Value
from nestdsl.plan.wellformed import (
    ARITHMETIC,
    is_number,
    require,
    require_arguments,
    require_identifier,
    require_member,
    require_operands,
)

_OPERANDS = {**ARITHMETIC, "debias": 2}
_MEMORIES = {
    "ema": ("decay",),
    "sum_of": ("decay",),
    "matrix": ("step", "retain"),
    "associative": ("step", "retain"),
}
_SHAPE = re.compile(rf"{CONSTANT}|{NUMBER}|{WEIGHT}|(out|in|1) × (out|in|1)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\[[0-9]+\])?(\.[A-Za-z0-9_]+(\[[0-9]+\])?)*")
"""Memories and results: `m`, `slow[1]`, `update.4`."""


def verify_program(program: OptimizerProgram, given: tuple[str, ...] = ()) -> None:
    """Raises OddPlanError for what no optimizer of the language becomes.

    given: the parameters that another program hands on to it.
    """
    place = f"the optimizer `{require_identifier(program.name, 'an optimizer', free=False)}`"
    names = [*given, *(name for name, _ in program.parameters)]
    names += [schedule.parameter for schedule in program.schedules]
    parameters = {require_identifier(name, place, free=False) for name in names}
    memories = {one.name: one for one in program.memories}
    require(len(memories) == len(program.memories), f"{place} has two memories of one name")
    for name in memories:
        require(bool(_NAME.fullmatch(name)), f"{place} has a memory of an odd name")
    words = {name for name, value in program.parameters if not is_number(value)}
    known = {"grad", "weight", "step_count", *memories, *(parameters - words)}
    for line in program.lines:
        _verify_line(line, known, memories, place)
        known.add(line.result)
    learning = [line.result for line in program.lines if line.function == "learn"]
    require(sorted(learning) == sorted(memories), f"the memories of {place} and what they learn differ")
    for memory in program.memories:
        _verify_memory(memory, known, place)
    require_member(program.update, known - parameters - {"step_count"}, f"the update of {place}")
    for schedule in program.schedules:
        require_member(schedule.shape, ("constant", "linear", "cosine"), f"a schedule of {place}")
    for name in program.structural:
        require_member(name, parameters, f"a structural parameter of {place}")
    if program.otherwise is not None:
        verify_program(program.otherwise, tuple(name for name, _ in program.otherwise_arguments))
    for _, value in program.otherwise_arguments:
        _verify_operand(value, known, place)


def _verify_line(line: Line, known: set[str], memories: dict[str, GradientMemory], place: str) -> None:
    require(bool(_NAME.fullmatch(line.result)), f"{place} has a result of an odd name")
    require(bool(_SHAPE.fullmatch(line.shape)), f"`{line.result}` of {place} has an odd shape")
    for operand in line.operands:
        _verify_operand(operand, known, place)
    here, count = f"`{line.result}` of {place}", len(line.operands)
    options: tuple[tuple[str, Value], ...] = ()
    match line.function:
        case "learn":
            require_member(line.result, memories, f"what learns in {place}")
            pairs = memories[line.result].kind in ("matrix", "associative")
            require(count in ((1, 2) if pairs else (1,)), f"{here} learns from {count} operands")
        case "answer":
            require(count == 2 and line.operands[0] in memories, f"{here} is the answer of no memory")
        case "bias":
            require(count == 1 and len(line.options) == 1, f"{here} corrects nothing")
            options = line.options
            require(options[0][0] == "memory" and options[0][1] in memories, f"{here} corrects no memory")
        case arithmetic if arithmetic in _OPERANDS:
            require(count == _OPERANDS[arithmetic], f"{here} has {count} operands")
        case name:
            require_member(name, LIBRARY.functions, f"the function of {here}")
            function = LIBRARY.functions[name]
            require(function.place is not Place.MODEL and not function.is_custom, f"{here} is of a model")
            require_operands(function, count, here)
            require_arguments(line.options, function.arguments, here)
            options = line.options
    require(options == line.options, f"{here} has options that `{line.function}` does not take")


def _verify_memory(memory: GradientMemory, names: set[str], place: str) -> None:
    here = f"`{memory.name}` of {place}"
    require_member(memory.kind, _MEMORIES, f"the kind of {here}")
    given = sorted(name for name, _ in memory.arguments)
    require(given == sorted(_MEMORIES[memory.kind]), f"{here} has odd arguments")
    for _, value in memory.arguments:
        _verify_operand(value, names, place)
    require(bool(_SHAPE.fullmatch(memory.shape)), f"{here} has an odd shape")
    require_member(memory.read, ("after", "before"), f"the read of {here}")
    require_member(memory.reduce, ("mean", "sum"), f"what {here} gathers")
    options = dict(memory.options)
    require(
        set(options) == ({"hidden"} if memory.kind == "associative" else set()), f"{here} has odd options"
    )
    require(all(type(one) is int and one > 0 for one in options.values()), f"{here} has an odd size")


def _verify_operand(operand: Operand, known: set[str], place: str) -> None:
    if isinstance(operand, str):
        require_member(operand, known, f"an operand of {place}")
