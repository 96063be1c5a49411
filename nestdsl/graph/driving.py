"""What drives the weights of a level: the programs of its optimizer, and the levels inside them."""

from __future__ import annotations

from collections import Counter

from nestdsl.graph.matrices import weights_of
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import TRAIN, EdgeType, Level, OptimizerUse, Unit
from nestdsl.graph.optimizer import GradientMemory, Line, OptimizerProgram

ITERATION = "newton_schulz"
"""The function that solves a problem of its own in several iterations, and so is a level [E43]."""


def driving(graph: NestGraph, level: Level) -> tuple[OptimizerProgram, ...]:
    """The programs that move the weights of a level: its optimizer's, and what that leaves its rest to."""
    program, weights = optimizer_of(graph, level).program, weights_of(graph, level)
    found: list[OptimizerProgram] = []
    while program is not None:
        if program.otherwise is None:
            return (*found, program)
        if weights.matrices:
            found.append(program)
        program = program.otherwise if weights.others else None
    return tuple(found)


def place_of(graph: NestGraph, level: Level, program: OptimizerProgram) -> str:
    """Where the levels of a program stand that drives a level: `@train.adamw`, `head.sgd`.

    Levels that share an optimizer and a period share them: `@train.adamw[4]` for every 4 steps.
    """
    owner = level.declared if level.optimizer else TRAIN
    is_own = level.optimizer is not None or (level.period, level.unit) == (graph.train.period, Unit.STEP)
    tokens = " tokens" if level.unit is Unit.TOKEN else ""
    return f"{owner}.{program.name}" + ("" if is_own else f"[{level.period}{tokens}]")


def optimizer_of(graph: NestGraph, level: Level) -> OptimizerUse:
    """The optimizer that a level names, or else that of `train`."""
    return level.optimizer or graph.train.optimizer


def levels_of(program: OptimizerProgram) -> dict[str, GradientMemory | Line]:
    """The levels inside a program by name: its memories, and the lines that iterate.

    A line is named after the flow it stands in: `update.newton_schulz`, the second of one flow
    `update.newton_schulz_2`.
    """
    found: dict[str, GradientMemory | Line] = {memory.name: memory for memory in program.memories}
    counts: Counter[str] = Counter()
    for line in program.lines:
        if line.function != ITERATION:
            continue
        flow = line.result.rpartition(".")[0]
        counts[flow] += 1
        found[f"{flow}.{ITERATION}" + (f"_{counts[flow]}" if counts[flow] > 1 else "")] = line
    return found


def level_of_program(graph: NestGraph, level: Level) -> tuple[OptimizerProgram, str]:
    """The program that a level inside an optimizer is of, and its name there."""
    inside = level.id.removeprefix(f"{level.owner}.")
    within, _, name = inside.partition(".")
    driven = next(graph.level(id) for id in graph.targets(level.id, EdgeType.OPTIMIZE))
    program = next(one for one in driving(graph, driven) if one.name == within.partition("[")[0])
    return program, name
