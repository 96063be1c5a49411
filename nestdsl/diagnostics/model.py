"""One Diagnostic object, many renderers (see `render.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nestdsl.diagnostics.codes import CODES, Severity
from nestdsl.source import Span


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that explains a diagnostic, such as the first of two definitions."""

    message: str
    span: Span


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A user's mistake: a code, a place, a plain sentence and what to write instead.

    `span` is None only where there is no text to point at (a missing file, a run's data).
    """

    code: str
    message: str
    span: Span | None = None
    hint: str = ""
    notes: tuple[Note, ...] = ()
    severity: Severity | None = None

    def __post_init__(self) -> None:
        if self.severity is None:
            object.__setattr__(self, "severity", CODES[self.code].severity)

    @property
    def is_error(self) -> bool:
        return self.severity is Severity.ERROR


class Diagnostics:
    """Collects what one run finds, each thing once (copies of a repeat report the same place)."""

    def __init__(self, found: Iterable[Diagnostic] = ()) -> None:
        self._found: dict[Diagnostic, None] = dict.fromkeys(found)

    def report(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        hint: str = "",
        notes: tuple[Note, ...] = (),
    ) -> None:
        self._found[Diagnostic(code, message, span, hint, notes)] = None

    def extend(self, others: Iterable[Diagnostic]) -> None:
        self._found.update(dict.fromkeys(others))

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def has_errors(self) -> bool:
        return any(diagnostic.is_error for diagnostic in self._found)

    def in_order(self) -> tuple[Diagnostic, ...]:
        """All diagnostics by file and place; those without a place come first."""

        def place(diagnostic: Diagnostic) -> tuple[str, int, str]:
            span = diagnostic.span
            return (span.source.name, span.start, diagnostic.code) if span else ("", 0, diagnostic.code)

        return tuple(sorted(self._found, key=place))


class NestError(Exception):
    """Raised to Python callers when a program or a run has errors; carries `.diagnostics`."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        try:
            from nestdsl.diagnostics.render import render_text

            return "\n" + render_text(self.diagnostics)
        except MemoryError:  # of which N0503 may have to say that there is none left
            return "\n".join(f"{one.code}: {one.message}; {one.hint}" for one in self.diagnostics)


def fail(code: str, message: str, hint: str = "", span: Span | None = None) -> NestError:
    """A NestError with one diagnostic, ready to raise."""
    return NestError((Diagnostic(code, message, span, hint),))
