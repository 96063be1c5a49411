"""Mistakes that show in a file that the program uses: told with the place where it is used.

What shows in a block of the library was said where the block is called: the mistake is told once,
there, and a note says where it shows. In a file of the user's own a note says where it is used.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace

from nestdsl.diagnostics import Diagnostic, Diagnostics, Note
from nestdsl.graph.nest import NestGraph
from nestdsl.source import Source, Span

LIBRARY = "std/"
"""How the names of the library's sources begin."""


def relocate_diagnostics(found: Diagnostics, graphs: Iterable[NestGraph], program: Source) -> Diagnostics:
    """The diagnostics, those in other files with the places of the program that led to them."""
    return Diagnostics(_relocated(found.in_order(), graphs, program))


def _relocated(
    found: Iterable[Diagnostic], graphs: Iterable[NestGraph], program: Source
) -> Iterator[Diagnostic]:
    places = _Uses(graphs, program)
    told: set[tuple[str, Span]] = set()
    for diagnostic in found:
        span = diagnostic.span
        uses = [] if span is None or span.source == program else places.of(span)
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


class _Uses:
    """Where a program calls the blocks of other files, by the place of those blocks."""

    def __init__(self, graphs: Iterable[NestGraph], program: Source) -> None:
        self._graphs, self._program = tuple(graphs), program
        self._calls: dict[Span, dict[Span, None]] = {}
        self._bodies: dict[Source, list[Span]] = {}
        self._is_read = False

    def of(self, span: Span) -> list[Span]:
        """Where the program calls the blocks that hold a place of another file, copies once."""
        if not self._is_read:
            self._read()
        bodies = self._bodies.get(span.source, [])
        place = bisect_right(bodies, span.start, key=lambda body: body.start)
        if not place or span.start >= bodies[place - 1].end:
            return []
        return list(self._calls[bodies[place - 1]])

    def _read(self) -> None:
        self._is_read = True
        for graph in self._graphs:
            for scope in graph.scopes.values():
                body = scope.body
                if body is None or body.source == self._program:
                    continue
                outer = scope
                while outer.parent is not None and outer.span.source != self._program:
                    outer = graph.scopes[outer.parent]
                if outer.span.source == self._program:
                    self._calls.setdefault(body, {}).setdefault(outer.span)
        for body in self._calls:
            self._bodies.setdefault(body.source, []).append(body)
        for bodies in self._bodies.values():
            bodies.sort(key=lambda body: body.start)
