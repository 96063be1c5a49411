"""Mistakes that show in a file that the program uses: told with the place where it is used.

What shows in a block of the library was said where the block is called: the mistake is told once,
there, and a note says where it shows. In a file of the user's own a note says where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from nestdsl.diagnostics import Diagnostic, Diagnostics, Note
from nestdsl.graph.nest import NestGraph
from nestdsl.source import Source, Span

LIBRARY = "std/"
"""How the names of the library's sources begin."""


def at_their_use(
    found: Iterable[Diagnostic], graphs: Iterable[NestGraph], program: Source
) -> Iterator[Diagnostic]:
    """The diagnostics, those in other files with the places of the program that led to them."""
    graphs = tuple(graphs)
    told: set[tuple[str, Span]] = set()
    for diagnostic in found:
        span = diagnostic.span
        uses = [] if span is None or span.source == program else _uses(span, graphs, program)
        if span is None or not uses:
            yield diagnostic
        elif not span.source.name.startswith(LIBRARY):
            notes = tuple(Note("this is used here", use) for use in uses)
            yield replace(diagnostic, notes=diagnostic.notes + notes)
        else:
            for use in uses:
                if (diagnostic.code, use) not in told:
                    told.add((diagnostic.code, use))
                    shown = Note("it shows here, in what the library builds of it", span)
                    yield replace(diagnostic, span=use, notes=(shown, *diagnostic.notes))


def _uses(span: Span, graphs: Iterable[NestGraph], program: Source) -> list[Span]:
    """Where the program calls the blocks that hold a place of another file, copies once."""
    found: dict[Span, None] = {}
    for graph in graphs:
        for scope in graph.scopes.values():
            body = scope.body
            if body is None or body.source != span.source or not body.start <= span.start < body.end:
                continue
            outer = scope
            while outer.parent is not None and outer.span.source != program:
                outer = graph.scopes[outer.parent]
            if outer.span.source == program:
                found.setdefault(outer.span)
    return list(found)


def told_at_use(found: Diagnostics, graphs: Iterable[NestGraph], program: Source) -> Diagnostics:
    """`at_their_use`, collected."""
    return Diagnostics(at_their_use(found.in_order(), graphs, program))
