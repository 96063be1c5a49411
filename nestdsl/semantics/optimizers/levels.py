"""What trains what: surprise reaches the levels that learn from it, through the levels of an optimizer."""

from __future__ import annotations

from dataclasses import replace

from nestdsl.graph.driving import driving, levels_of, optimizer_of, place_of
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Learning, Level, OptimizerUse
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
        optimizer = optimizer_of(graph, level)
        owner = level.declared if level.optimizer else train.id
        for program in driving(graph, level):
            _connect(graph, level, program, owner, place_of(graph, level, program), optimizer)


def _connect(
    graph: NestGraph, level: Level, program: OptimizerProgram, owner: str, prefix: str, use: OptimizerUse
) -> None:
    """Adds the levels of an optimizer, its memories and what it iterates, and lets them drive a level."""
    inside = levels_of(program)
    new = [name for name in inside if f"{prefix}.{name}" not in graph]
    for name in new:
        inner = inside[name]
        is_memory = isinstance(inner, GradientMemory)
        graph.add(
            Level(
                id=f"{prefix}.{name}",
                declared=f"{prefix}.{name}",
                scope="",
                name=name,
                kind=inner.kind if is_memory else inner.function,
                arguments=tuple(inner.arguments if is_memory else inner.options),
                span=use.span,
                learning=Learning.CONTENT,
                period=level.period * max(1, inner.period),
                unit=level.unit,
                iterations=1 if is_memory else _steps(inner),
                owner=owner,
            )
        )
    for name in new:
        for source in _read_by(program, inside[name]):
            graph.connect(f"{prefix}.{source}", f"{prefix}.{name}", EdgeType.READ)
    for name in inside:
        graph.connect(f"{prefix}.{name}", level.id, EdgeType.OPTIMIZE)


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
