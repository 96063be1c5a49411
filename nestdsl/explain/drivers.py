"""What drives the weights of a level, and the sections of the levels inside of optimizers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nestdsl.diagnostics.quantities import as_written
from nestdsl.explain import descent
from nestdsl.explain.descent import Clock
from nestdsl.explain.flows import Names
from nestdsl.explain.optimizers import Equations, Writer
from nestdsl.explain.section import Member, Row, Section, row
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Level
from nestdsl.graph.optimizer import GradientMemory, OptimizerProgram
from nestdsl.graph.optimizer_levels import level_of_program, levels_of, optimizer_of, programs_of
from nestdsl.graph.order import describe_frequency
from nestdsl.plan.plan import OrderedLevel
from nestdsl.semantics.elaborate.optimizers.schedules import written
from nestdsl.vocabulary.terms import IDENTITY, Line, T, Term, Transpose, times
from nestdsl.vocabulary.timing import ReadTime


@dataclass(frozen=True, slots=True)
class Driver:
    """A program in an optimizer, with its arguments in words, and those of them that change in time."""

    program: OptimizerProgram
    arguments: tuple[tuple[str, str | Term], ...]
    varying: frozenset[str]

    def writer(self, clock: Clock) -> Writer:
        return Writer(self.program, clock, self.varying)

    def words(self) -> Line:
        """`adamw(lr = 0.001, beta1 = 0.9)`."""
        pieces: list[str | Term] = [f"{self.program.name}("]
        for place, (name, given) in enumerate(self.arguments):
            pieces += [f"{', ' if place else ''}{name} = ", given]
        return _joined([*pieces, ")"])


def clock_of(level: Level) -> Clock:
    """When the weights of a level move."""
    return Clock(T if level.learns_surprise_in_context else descent.STEP, level.period)


def chain(program: OptimizerProgram, clock: Clock) -> Iterator[Driver]:
    """An optimizer's program, what it leaves its rest to, and so on."""
    given: dict[str, str | Term] = {}
    varying: frozenset[str] = frozenset()
    while True:
        schedules = {one.parameter: written(one) for one in program.schedules}
        own = {name: as_written(number) for name, number in program.parameters} | schedules
        # What is given comes first where the program alone does not know its value.
        arguments = {name: one for name, one in given.items() if name not in own} | own | given
        driver = Driver(program, tuple(arguments.items()), varying)
        yield driver
        if program.otherwise is None:
            return
        writer = driver.writer(clock)
        passed = program.otherwise_arguments
        given = {
            name: arguments[operand]
            if isinstance(operand, str) and operand in arguments
            else writer.text_of(operand)
            for name, operand in passed
        }
        varying = frozenset(name for name, operand in passed if not writer.is_timeless(operand))
        program = program.otherwise


def drivers(graph: NestGraph, level: Level) -> tuple[Driver, ...]:
    """What moves the weights of a level."""
    program = optimizer_of(graph, level).program
    if program is None:
        return ()
    moving = programs_of(graph, level)
    return tuple(driver for driver in chain(program, clock_of(level)) if driver.program in moving)


def rest(graph: NestGraph, level: Level) -> tuple[str | Line, ...]:
    """Whether the optimizer of a level leaves some of its weights, or all, to another."""
    moving = drivers(graph, level)
    use = optimizer_of(graph, level)
    if not moving or moving[-1].program == use.program:
        return ()
    last = moving[-1].words()
    if len(moving) > 1:
        return (("which leaves what is no matrix to ", *last),)
    return (("which leaves these weights to ", *last),)


def updates(graph: NestGraph, level: Level, takes_mean: bool) -> Iterator[tuple[str, Equations]]:
    """How each weight W of a level moves; where an optimizer leaves some of them to another, both ways."""
    clock, loss = clock_of(level), graph.train.objective
    moving = drivers(graph, level)
    if not moving:
        numbers = dict(optimizer_of(graph, level).arguments)
        step, retain = numbers["step"], numbers["retain"]
        assert isinstance(step, int | float) and isinstance(retain, int | float)
        gathered = descent.gradient(clock, loss, takes_mean)
        yield "update", (gathered, descent.gradient_descent(clock, step, retain))
        return
    for place, driver in enumerate(moving):
        writer = driver.writer(clock)
        update = writer.update()
        label = "update" if len(moving) == 1 else ("of matrices", "of the rest")[place]
        gathered = descent.gradient(clock, loss, takes_mean, writer.weight, writer.gradient)
        yield label, (update,) if place else (gathered, update)
        yield "where", writer.where()


def section(names: Names, level: Level, ordered: OrderedLevel) -> Section:
    """A level inside of an optimizer: a memory of gradients, or an iteration."""
    graph = names.graph
    driven = [graph.level(id) for id in graph.targets(level.id, EdgeType.OPTIMIZE)]
    program, name = level_of_program(graph, level)
    clock = clock_of(driven[0])
    found = chain(_first(graph, driven[0]), clock)
    driver = next(one for one in found if one.program == program)
    writer, inner = driver.writer(clock), levels_of(program)[name]
    rows: tuple[Row, ...]
    if isinstance(inner, GradientMemory):
        update, read = writer.memory(inner)
        context = _arrows(writer.context(inner))
        rows = (
            row("memory", _memory(inner, driven)),
            row("context flow", context),
            row("objective", _objective(inner, writer)),
            row("frequency", *_frequency(level, inner)),
            row("optimizer", ("inside of ", *driver.words())),
            row("start", inner.declared.start),
        )
        equations = (("update", update), ("read", read), ("where", writer.where()))
    else:
        start, x, steps = writer.iterated(inner)
        rows = (
            row("memory", f"none: it starts again each time, for each matrix of {_driven(driven)}"),
            row("context flow", (start,)),
            row(
                "objective",
                (
                    times(x, Transpose(x)),
                    " = ",
                    IDENTITY,
                    ": all singular values 1 [Nested Learning, Eq. 43]",
                ),
            ),
            row("frequency", describe_frequency(level)),
            row("optimizer", ("inside of ", *driver.words())),
            row("start", "its input divided by its norm; transposed where it has more rows than columns"),
        )
        equations = (("update", steps), ("where", writer.where()))
    groups = tuple((label, group) for label, group in equations if group)
    return Section(ordered.rank, ordered.kind, (Member(ordered.name, 1),), rows, groups)


def _first(graph: NestGraph, level: Level) -> OptimizerProgram:
    program = optimizer_of(graph, level).program
    assert program is not None
    return program


def _driven(driven: list[Level]) -> str:
    declared = list(dict.fromkeys(one.declared for one in driven))
    each = ", each sequence's own" if driven[0].learns_surprise_in_context else ""
    what = declared[0].replace("[*]", "") if len(declared) == 1 else f"{len(declared)} levels"
    return f"{what}{each}"


def _memory(memory: GradientMemory, driven: list[Level]) -> str:
    if memory.declared.made_of is not None:
        layers = memory.declared.made_of(memory.name, dict(memory.options))
        return f"a network of two layers for each weight of {_driven(driven)}: {layers}"
    return f"one number for each weight of {_driven(driven)}"


def _objective(memory: GradientMemory, writer: Writer) -> Line:
    arguments = {name: writer.text_of(operand) for name, operand in memory.arguments}
    return memory.declared.objective(arguments)


def _frequency(level: Level, memory: GradientMemory) -> tuple[str, ...]:
    every = describe_frequency(level)
    lines = [every]
    if memory.period > 1:
        lines[0] += f", by the {memory.reduce} of what gathered in {memory.period} updates"
    if memory.read is ReadTime.BEFORE:
        lines.append("read as it was before it moves")
    return tuple(lines)


def _arrows(terms: tuple[Term, ...]) -> Line:
    pieces: list[str | Term] = []
    for term in terms:
        pieces += [" → ", term] if pieces else [term]
    return tuple(pieces)


def _joined(pieces: list[str | Term]) -> Line:
    """Pieces with neighbouring words as one, so that long lines can be broken."""
    found: list[str | Term] = []
    for piece in pieces:
        if found and isinstance(piece, str) and isinstance(found[-1], str):
            found[-1] += piece
        else:
            found.append(piece)
    return tuple(found)
