"""The section of a level that learns from surprise, across sequences or in context."""

from __future__ import annotations

from collections.abc import Iterator

from nestdsl.explain import constants, descent, drivers
from nestdsl.explain.association import anchor_definition
from nestdsl.explain.descent import Clock
from nestdsl.explain.flows import Names
from nestdsl.explain.section import NEVER_RESET, Member, Row, Section, row
from nestdsl.explain.starts import start
from nestdsl.explain.words import optimizer, parameters, shapes, state
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Level, OptimizerUse
from nestdsl.graph.order import describe_frequency
from nestdsl.plan.cost import numbers_in_context
from nestdsl.plan.plan import OrderedLevel
from nestdsl.vocabulary.signatures import LIBRARY, Arguments, Kind, Memory, Shapes
from nestdsl.vocabulary.terms import Apply, Equation, Line, Symbol, T, Term, symbols
from nestdsl.vocabulary.timing import STOP, THROUGH, Gradient, Reset, Truncated

Y, W = Symbol("y").at(T), Symbol("W")
_INPUT_DEPTH = 4
"""So many stages back the input of a level is written out; further back other levels say it."""
_CONTEXT_GRADIENTS = {
    STOP: "the outer levels take the updates as constant (first order)",
    THROUGH: "the outer levels differentiate through the updates",
    Truncated(1): "the outer levels differentiate through the last update",
}


def section(names: Names, level: Level, ordered: OrderedLevel, segment_tokens: int) -> Section:
    """Everything that a page says of a level with weights; `segment_tokens` as in the plan's clock."""
    graph = names.graph
    sizes = graph.level_sizes[level.id]
    arguments, kind = dict(level.arguments), LIBRARY.kinds[level.kind]
    residual = kind.memory is Memory.NETWORK and sizes[0] == sizes[1]
    own = kind.parameters(arguments, *sizes)
    loss = graph.train.objective
    use = level.optimizer or graph.train.optimizer
    rows = [
        row("memory", _memory(own, arguments)),
        row("input x", _inputs(names, level)),
        *(_tied(graph, level, ordered) if own else ()),
        row("context flow", ("x → the gradient of ", Symbol(loss), " at y")),
        *_learning(names, level, ordered, use, segment_tokens),
        row("state", state(ordered, _kept(graph, level, use))),
        row("parameters", parameters(ordered)),
        row("start", _start(names, level, residual)),
        *_reset(graph, level),
    ]
    equations = [*_updates(names, level, ordered, use)] if own else []
    equations.append(("read", (_read(kind, arguments, residual),)))
    return Section(
        ordered.rank,
        level.kind,
        (Member(ordered.name, ordered.copies),),
        tuple(rows),
        tuple((label, group) for label, group in equations if group),
    )


def _read(kind: Kind, arguments: Arguments, is_residual: bool) -> Equation:
    """y_t of x_t."""
    made = kind.equation(arguments, is_residual) if kind.equation else None
    return Equation(Y, made or Apply(Symbol(kind.name), (Symbol("x"), W), index=T))


def _tied(graph: NestGraph, level: Level, ordered: OrderedLevel) -> tuple[Row, ...]:
    """That a level which is read in several places has one set of weights there, and one update."""
    reads = len(graph.reads_of(level.id))
    if reads < 2 or _is_still(level, ordered):
        return ()
    return (row("tied", f"{reads} reads share its weights, which move once, by the sum of their gradients"),)


def _kept(graph: NestGraph, level: Level, use: OptimizerUse) -> tuple[str, ...]:
    """Of what the state of a level with weights consists."""
    if level.learns_surprise_in_context:
        memories = (f"what {use.name} keeps",) if numbers_in_context(graph, level) else ()
        return ("its weights", "the gradient that gathers", *memories)
    return LIBRARY.kinds[level.kind].keeps


def _start(names: Names, level: Level, residual: bool) -> Line:
    by = names.graph.train.optimizer.name
    if (parent := names.graph.parent(level)) is not None:
        whose = "in the same sequence" if parent.in_context else "shared by all sequences"
        return (f"the weights of {parent.name}, {whose}; none of its own [Nested Learning, Eq. 72]",)
    drawn = start(level, residual, by)
    if not level.learns_surprise_in_context:
        return drawn
    return (f"one for all sequences, learned by the outer levels ({by}), from ", *drawn)


def _reset(graph: NestGraph, level: Level) -> tuple[Row, ...]:
    """When a level starts again, if not with each sequence only."""
    parent = graph.parent(level)
    if level.reset is Reset.NEVER:
        return (NEVER_RESET,)
    if parent is None or level.reset is not Reset.PARENT:
        return ()
    if not parent.in_context:
        return (row("reset", f"with each sequence, as {parent.name} moves only between them"),)
    when = f"when {parent.name} moves, once in {parent.period} tokens"
    return (
        row(
            "reset",
            (f"{when}: ", descent.W, " then becomes that of ", parent.name, ", instead of its update"),
        ),
    )


def _learning(
    names: Names, level: Level, ordered: OrderedLevel, use: OptimizerUse, segment_tokens: int
) -> tuple[Row, ...]:
    if level.frozen:
        return row("frequency", "never: it is frozen"), row("optimizer", "none")
    if _is_still(level, ordered):
        reason = "nothing moves it: no gradient of the loss reaches it"
        return row("frequency", reason), row("optimizer", "none")
    every = describe_frequency(level)
    if not level.learns_surprise_in_context:
        return row("frequency", every), row("optimizer", optimizer(use), *drivers.rest(names.graph, level))
    lines: list[str | Line] = [
        f"{every}, each sequence its own weights, in training and with learn=True [Nested Learning, Eq. 71]",
        "the loss at token t moves only weights that read token t + 1 and later",
    ]
    if level.period > segment_tokens:
        lines.append(f"a gradient looks back no further than its segment of {segment_tokens} tokens")
    return (
        row("frequency", *lines),
        row("optimizer", optimizer(use), *drivers.rest(names.graph, level)),
        row("gradient", _gradient(level.gradient)),
    )


def _gradient(gradient: Gradient) -> str:
    words = _CONTEXT_GRADIENTS.get(gradient)
    if words is None and isinstance(gradient, Truncated):
        words = f"the outer levels differentiate through the last {gradient.last} updates"
    return f"{gradient}: {words}"


def _memory(own: Shapes, arguments: Arguments) -> str:
    heads = int(arguments.get("heads") or 1)
    return (shapes(own) or "no weights") + (f"; each of {heads} heads by itself" if heads > 1 else "")


def _inputs(names: Names, level: Level) -> Line:
    """`rms_norm(h_t)`: what a level is read with."""
    pieces: list[str | Term] = []
    found = dict.fromkeys(
        names.expression(read.operand, 1, depth=_INPUT_DEPTH) for read in names.graph.reads_of(level.id)
    )
    for place, term in enumerate(found):
        pieces += [", and ", term] if place else [term]
    for anchor in dict.fromkeys(symbol for symbol in symbols(tuple(found)) if symbol.name == "ξ"):
        pieces += [" with ", anchor, " = ", anchor_definition(anchor, 1).right]
    for one in constants.definitions(tuple(found)):
        pieces += [" with ", one.left, " = ", one.right]
    return tuple(pieces)


def _updates(
    names: Names, level: Level, ordered: OrderedLevel, use: OptimizerUse
) -> Iterator[tuple[str, tuple[Equation, ...]]]:
    """How each weight W of a level moves."""
    if _is_still(level, ordered):
        clock = Clock(descent.STEP, 1)
        yield "update", (Equation(descent.W.at(descent.STEP), descent.W.at(clock.last)),)
        return
    takes_mean = level.learns_surprise_in_context or dict(use.arguments).get("reduce", "mean") == "mean"
    yield from drivers.updates(names.graph, level, takes_mean)


def _is_still(level: Level, ordered: OrderedLevel) -> bool:
    """Whether nothing ever moves a level; weights in context decay even where no gradient reaches them."""
    return level.frozen or (ordered.learns == "nothing" and not level.learns_surprise_in_context)
