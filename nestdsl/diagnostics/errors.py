"""The one error that users of the Python interface catch."""

from __future__ import annotations

from collections.abc import Iterable

from nestdsl.diagnostics.model import Diagnostic
from nestdsl.source import Span


class NestError(Exception):
    """Raised to Python callers when a program or a run has errors; carries `.diagnostics`."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        try:
            from nestdsl.diagnostics.render import render_text  # which costs a start of any command

            return "\n" + render_text(self.diagnostics)
        except MemoryError:  # of which N0503 may have to say that there is none left
            return "\n".join(f"{one.code}: {one.message}; {one.hint}" for one in self.diagnostics)


def fail(code: str, message: str, hint: str = "", span: Span | None = None) -> NestError:
    """A NestError with one diagnostic, ready to raise."""
    return NestError((Diagnostic(code, message, span, hint),))
