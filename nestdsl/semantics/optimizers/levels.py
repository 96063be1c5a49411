"""What trains what: surprise reaches the levels that learn from it, through the levels of an optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from nestdsl.graph.matrices import weights_of
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Learning, Level, OptimizerUse, Unit
from nestdsl.graph.optimizer import GradientMemory, Line, OptimizerProgram
from nestdsl.library.signatures import LIBRARY, Value

WITH_TRAIN = 0
"""The period of a level that says none, until that of `train` is known."""


def connect_training(graph: NestGraph) -> None:
    """Surprise reaches every level that learns from it, by an optimizer with memories of its own.

    Levels without `every` move with `train`. Those that share an optimizer and a period share its
    memories in the graph: each weight has its own, but they are one level.
    """
    train = graph.train
    for level in list(graph.levels()):
        if level.period == WITH_TRAIN:
            level = replace(level, period=train.period)
            graph.add(level)
        if level.learning is Learning.ASSOCIATION:
            is_learned = level.init.kind == "learned" and not level.frozen
            if is_learned and LIBRARY.kinds[level.kind].has_parameters(dict(level.arguments)):
                graph.connect(train.id, level.id, EdgeType.INIT)
            continue
        if level.frozen:
            continue
        graph.connect(train.id, level.id, EdgeType.SURPRISE)
        optimizer = level.optimizer or train.optimizer
        owner = level.declared if level.optimizer else train.id
        is_own = level.optimizer is not None or (level.period, level.unit) == (train.period, Unit.STEP)
        tokens = " tokens" if level.unit is Unit.TOKEN else ""
        suffix = "" if is_own else f"[{level.period}{tokens}]"
        for program in _driving(graph, level, optimizer):
            _connect(graph, level, program, owner, f"{owner}.{program.name}{suffix}", optimizer)


def _driving(graph: NestGraph, level: Level, optimizer: OptimizerUse) -> Iterator[OptimizerProgram]:
    """The programs that move the weights of a level: its optimizer, and what that leaves its rest to."""
    program, weights = optimizer.program, weights_of(graph, level)
    while program is not None:
        if program.otherwise is None:
            yield program
            return
        if weights.matrices:
            yield program
        program = program.otherwise if weights.others else None


def _connect(
    graph: NestGraph, level: Level, program: OptimizerProgram, owner: str, prefix: str, use: OptimizerUse
) -> None:
    """Adds the levels of an optimizer, its memories and what it iterates, and lets them drive a level."""
    for inner in (*program.memories, *_iterations(program)):
        name = inner.name if isinstance(inner, GradientMemory) else "newton_schulz"
        id = f"{prefix}.{name if isinstance(inner, GradientMemory) else inner.result + '.newton_schulz'}"
        if id not in graph:
            iterations = 1 if isinstance(inner, GradientMemory) else _steps(inner)
            arguments = inner.arguments if isinstance(inner, GradientMemory) else ()
            graph.add(
                Level(
                    id=id,
                    declared=id,
                    scope="",
                    name=name,
                    kind=inner.kind if isinstance(inner, GradientMemory) else "newton_schulz",
                    arguments=tuple((key, value) for key, value in arguments),
                    span=use.span,
                    learning=Learning.CONTENT,
                    period=level.period * max(1, inner.period),
                    unit=level.unit,
                    iterations=iterations,
                    owner=owner,
                )
            )
            for source in _read_by(program, inner):
                graph.connect(f"{prefix}.{source}", id, EdgeType.READ)
        graph.connect(id, level.id, EdgeType.OPTIMIZE)


def _iterations(program: OptimizerProgram) -> tuple[Line, ...]:
    """Lines that solve a problem of their own in several iterations [E43]."""
    return tuple(line for line in program.lines if line.function == "newton_schulz")


def _steps(line: Line) -> int:
    steps: Value = dict(line.options)["steps"]
    assert isinstance(steps, int)
    return steps


def _read_by(program: OptimizerProgram, inner: GradientMemory | Line) -> list[str]:
    """The memories whose state, at the same time, another one learns from, or an iteration starts from."""
    lines = {line.result: line for line in program.lines if line.function != "learn"}
    memories = {memory.name: memory for memory in program.memories}
    if isinstance(inner, GradientMemory):
        (start,) = (line for line in program.lines if line.result == inner.name and line.function == "learn")
    else:
        start = inner
    found: dict[str, None] = {}
    waiting = [operand for operand in start.operands if isinstance(operand, str)]
    while waiting:
        operand = waiting.pop()
        if operand in memories:
            if memories[operand].read == "after":
                found[operand] = None
        elif operand in lines:
            waiting += [one for one in lines[operand].operands if isinstance(one, str)]
    return list(found)
