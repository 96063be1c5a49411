"""What a name can mean inside a body, and what one elaboration shares between its bodies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from nestdsl.diagnostics import LIMIT, Diagnostics, TooManyError
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, OptimizerUse, Unit
from nestdsl.limits import MAX_LEVELS, MAX_NODES, MAX_OPEN_EXPRESSIONS
from nestdsl.semantics.values import Constant, Unknown
from nestdsl.source import Span
from nestdsl.syntax import ast


class LimitReachedError(Exception):
    """Ends an elaboration whose N0004 is already reported."""


@contextmanager
def within_limits(diagnostics: Diagnostics, program: Span) -> Iterator[None]:
    """Ends quietly what goes over a limit: the N0004 that says so is reported."""
    try:
        yield
    except (LimitReachedError, TooManyError):
        pass
    except RecursionError:
        diagnostics.report(
            LIMIT,
            "the expressions and blocks of this program stand too deep in one another",
            program,
            "name parts of long expressions with `flow`, and use fewer blocks within blocks",
        )


@dataclass(frozen=True, slots=True)
class FlowName:
    """A flow: the id of its node."""

    id: str


@dataclass(slots=True)
class Stage:
    """Something that a flow passes through.

    A level (`level`) may be read anywhere; a block (`entry` to `exit`) only once, because its
    flows are its own: `read_at` remembers where.
    """

    level: str | None = None
    entry: str = ""
    exit: str = ""
    read_at: Span | None = None


@dataclass(frozen=True, slots=True)
class LevelName:
    """A declared level: for each element of the array (one if it is none) its stages in order."""

    elements: tuple[tuple[Stage, ...], ...]
    is_array: bool


@dataclass(frozen=True, slots=True)
class ConstantName:
    value: Constant | Unknown


@dataclass(frozen=True, slots=True)
class Poisoned:
    """A name whose declaration could not be read; using it is no second mistake."""


Meaning = FlowName | LevelName | ConstantName | Poisoned


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a level whose kind is a block says for the levels inside that say nothing."""

    period: tuple[int, Unit] | None = None
    optimizer: OptimizerUse | None = None
    frozen: Span | None = None
    """Where the block is said to be frozen."""
    gradient: str | None = None
    """Of the memories inside."""


@dataclass(slots=True)
class Shared:
    """What all bodies of one model share; `nodes_before` counts those of the models before it."""

    graph: NestGraph
    diagnostics: Diagnostics
    open_blocks: list[ast.Block] = field(default_factory=list)
    instantiated: set[int] = field(default_factory=set)
    nodes_before: int = 0
    levels: int = 0
    open_expressions: int = 0

    def feed(self, flow: str, source: str) -> None:
        """Says what a named flow, or the `in` of a block, is."""
        self.graph.connect(source, flow, EdgeType.READ)

    def count_nodes(self, span: Span) -> None:
        """Ends what never ends: blocks without levels can be endless too."""
        if self.nodes_before + len(self.graph.networkx) > MAX_NODES:
            self.too_many_nodes(span)

    def too_many_nodes(self, span: Span) -> NoReturn:
        self.diagnostics.report(
            "N0004",
            f"a program may have at most {MAX_NODES:,} levels, flows and operations, copies counted",
            span,
            "use fewer copies, or smaller blocks",
        )
        raise LimitReachedError

    @contextmanager
    def expression(self, span: Span) -> Iterator[None]:
        """Elaborates one expression inside those that are open, in this body and around it."""
        self.open_expressions += 1
        if self.open_expressions > MAX_OPEN_EXPRESSIONS:
            self.diagnostics.report(
                "N0004",
                f"expressions and blocks stand at most {MAX_OPEN_EXPRESSIONS} deep in one another",
                span,
                "give parts of the expression names of their own",
            )
            raise LimitReachedError
        try:
            yield
        finally:
            self.open_expressions -= 1

    def count_level(self, span: Span) -> None:
        self.levels += 1
        if self.levels > MAX_LEVELS:
            self.too_many_levels(span)
        self.count_nodes(span)

    def too_many_levels(self, span: Span) -> None:
        self.diagnostics.report(
            "N0004",
            f"a model may have at most {MAX_LEVELS:,} levels, copies counted",
            span,
            "use fewer copies",
        )
        raise LimitReachedError
