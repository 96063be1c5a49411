"""What trains what: surprise reaches the levels that learn from it, through the levels of an optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Learning, Level, OptimizerUse
from nestdsl.graph.optimizer import GradientMemory, Line, Operand, OptimizerProgram
from nestdsl.graph.optimizer_levels import levels_of, optimizer_of, place_of, programs_of
from nestdsl.limits import MAX_NODES
from nestdsl.semantics.elaborate.shared import WITH_TRAIN, Shared
from nestdsl.vocabulary.signatures import LIBRARY, Value
from nestdsl.vocabulary.timing import ReadTime


def connect_training(shared: Shared) -> None:
    """Surprise reaches every level that learns from it, by an optimizer with memories of its own.

    Levels without `every` move with `train`. Those that share an optimizer and a period share its
    memories in the graph: each weight has its own, but they are one level.
    """
    graph = shared.graph
    train = graph.train
    inside = _Inside()
    for level in list(graph.levels()):
        if level.period == WITH_TRAIN:
            level = replace(level, period=train.period)
            graph.add(level)
        if level.learning is Learning.ASSOCIATION:
            is_learned = level.init.trained and not level.frozen
            if is_learned and LIBRARY.kinds[level.kind].has_parameters(dict(level.arguments)):
                graph.connect(train.id, level.id, EdgeType.INIT)
            continue
        if level.frozen:
            continue
        graph.connect(train.id, level.id, EdgeType.SURPRISE)
        optimizer = optimizer_of(graph, level)
        owner = level.declared if level.optimizer else train.id
        for program in programs_of(graph, level):
            memories = inside.of(program)
            inside.connected += len(memories)
            if inside.connected > MAX_NODES:
                shared.too_many_nodes(level.span)
            shared.count_nodes(level.span)
            _connect(graph, level, program, owner, place_of(graph, level, program), optimizer, memories)


class _Inside:
    """The levels inside the programs of one model, found once, and how many have been connected."""

    def __init__(self) -> None:
        self.connected = 0
        self._found: dict[int, dict[str, GradientMemory | Line]] = {}

    def of(self, program: OptimizerProgram) -> dict[str, GradientMemory | Line]:
        if id(program) not in self._found:
            self._found[id(program)] = levels_of(program)
        return self._found[id(program)]


def _connect(
    graph: NestGraph,
    level: Level,
    program: OptimizerProgram,
    owner: str,
    prefix: str,
    use: OptimizerUse,
    inside: Mapping[str, GradientMemory | Line],
) -> None:
    """Adds the levels of an optimizer, its memories and what it iterates, and lets them drive a level."""
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
    reads = _Reads(program) if new else None
    for name in new:
        for source in reads.of(inside[name]) if reads else ():
            graph.connect(f"{prefix}.{source}", f"{prefix}.{name}", EdgeType.READ)
    for name in inside:
        graph.connect(f"{prefix}.{name}", level.id, EdgeType.OPTIMIZE)


def _steps(line: Line) -> int:
    steps: Value = dict(line.options)["steps"]
    assert isinstance(steps, int)
    return steps


class _Reads:
    """Of one program: the memories whose state, at the same time, another learns from or an iteration
    starts from."""

    def __init__(self, program: OptimizerProgram) -> None:
        self._memories = {memory.name: memory for memory in program.memories}
        self._lines = {line.result: line for line in program.lines if line.function != "learn"}
        self._learned = {line.result: line for line in program.lines if line.function == "learn"}

    def of(self, inner: GradientMemory | Line) -> list[str]:
        start = self._learned[inner.name] if isinstance(inner, GradientMemory) else inner
        found: list[str] = []
        seen: set[Operand] = set()
        waiting = list(start.operands)
        while waiting:
            operand = waiting.pop()
            if operand in seen:
                continue
            seen.add(operand)
            if operand in self._memories:
                if self._memories[str(operand)].read is ReadTime.AFTER:
                    found.append(str(operand))
            elif operand in self._lines:
                waiting += self._lines[str(operand)].operands
        return found
