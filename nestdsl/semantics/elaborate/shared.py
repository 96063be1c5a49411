"""What the bodies of one model share while they are elaborated: the graph, and the limits of its size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType
from nestdsl.limits import MAX_LEVELS, MAX_NODES, MAX_OPEN_EXPRESSIONS
from nestdsl.semantics.within_limits import LimitReachedError
from nestdsl.source import Span

WITH_TRAIN = 0
"""The period of a level that says none, until that of `train` is known."""


@dataclass(slots=True)
class Shared:
    """What all bodies of one model share; `nodes_before` counts those of the models before it."""

    graph: NestGraph
    diagnostics: Diagnostics
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
