"""The levels of optimizers: the programs that move the weights of a level, and the levels inside of those."""

from __future__ import annotations

from collections import Counter

from nestdsl.graph.matrices import weights_of
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import TRAIN, EdgeType, Level, OptimizerUse
from nestdsl.graph.optimizer import GradientMemory, Line, OptimizerProgram, chain
from nestdsl.vocabulary.timing import Unit

ITERATION = "newton_schulz"
"""The function that solves a problem of its own in several iterations, and so is a level [Nested Learning,
Eq. 43]."""


def programs_of(graph: NestGraph, level: Level) -> tuple[OptimizerProgram, ...]:
    """The programs that move the weights of a level.

    An optimizer for matrices moves those; the others are moved by the last of those to which one after
    another leaves its rest.
    """
    first, weights = optimizer_of(graph, level).program, weights_of(graph, level)
    if first is None or first.otherwise is None:
        return () if first is None else (first,)
    rest = chain(first, is_matrix=False)[-1]
    return (first,) * weights.matrices + (rest,) * weights.others


def place_of(graph: NestGraph, level: Level, program: OptimizerProgram) -> str:
    """Where the levels of a program stand that drives a level: `@train.adamw`, `head.sgd`.

    Levels that share an optimizer and a period share them: `@train.adamw[4]` for every 4 steps.
    """
    owner = level.declared if level.optimizer else TRAIN
    is_own = level.optimizer is not None or (level.period, level.unit) == (graph.train.period, Unit.STEP)
    tokens = " tokens" if level.unit is Unit.TOKEN else ""
    suffix = "" if is_own else f"[{level.period}{tokens}]"
    return f"{owner}.{name_in(optimizer_of(graph, level), program)}{suffix}"


def name_in(use: OptimizerUse, program: OptimizerProgram) -> str:
    """The name of a program among those that an optimizer leaves weights to: `adamw`, another `adamw_2`.

    A program's own `adamw` may leave its rest to the library's `muon`, and that to the library's `adamw`.
    """
    before, one = 0, use.program
    while one is not None and one != program:
        before += one.name == program.name
        one = one.otherwise
    return program.name + (f"_{before + 1}" if before else "")


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
    driven = next(graph.level(id) for id in graph.targets(level.id, EdgeType.OPTIMIZE))
    return next(
        (program, name)
        for program in programs_of(graph, driven)
        for name in levels_of(program)
        if f"{place_of(graph, driven, program)}.{name}" == level.id
    )
