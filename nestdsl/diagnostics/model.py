"""One Diagnostic object, many renderers (see `render.py`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from nestdsl.diagnostics.codes import CODES, Severity
from nestdsl.diagnostics.finding import Finding, Note
from nestdsl.source import Span


@dataclass(frozen=True, slots=True)
class Diagnostic(Finding):
    """A user's mistake: a code, a place, a plain sentence and what to write instead.

    code: such as N0201; `nestdsl explain N0201` prints its page. message: what is wrong, in one sentence.
    span: where, as `span.source.name`, `span.start` and `span.end` (offsets in its text); None only where
    there is no text to point at (a missing file, a run's data, an argument from Python). hint: what to do;
    empty if nothing can be said. notes: other places that explain it, such as the first of two definitions.
    severity: ERROR or WARNING, that of the code if not given.

    Raises NestError N0104 for what is no code, and for a field of another type.

    A hint can be followed to the letter. One that begins with `write` and code, or asks `did you mean`,
    gives what takes the place of the span: of its first word if it is a name, of the whole clause or
    statement if it begins with the same keyword. `remove it` and `leave it out` mean the span. Code with
    `...` in it is a form to fill in. `tests/hints` follows the hints of all wrong programs.
    """

    def __post_init__(self) -> None:
        is_text = all(isinstance(one, str) for one in (self.code, self.message, self.hint))
        is_place = isinstance(self.span, Span | None) and isinstance(self.severity, Severity | None)
        is_notes = isinstance(self.notes, tuple) and all(isinstance(one, Note) for one in self.notes)
        if not (is_text and is_place and is_notes and self.code in CODES):
            raise fail(
                "N0104",
                "this is no Diagnostic: a field is of another type, or the code is none",
                f"write {_FORM}",
            )
        if self.severity is None:
            object.__setattr__(self, "severity", CODES[self.code].severity)


LIMIT = "N0004"
_FORM = 'nestdsl.Diagnostic("N0201", "what is wrong", hint="what to do")'


class TooManyError(Exception):
    """Ends a run that has found more errors than anyone reads; an N0004 that says so is reported."""


class Diagnostics:
    """Collects what one run finds, each thing once (copies of a repeat report the same place).

    With `most`, TooManyError is raised in the place of the error that comes after so many: what follows
    from mistakes may cost more than the program itself. Limits that are exceeded do not count.
    """

    def __init__(self, found: Iterable[Diagnostic] = (), most: int | None = None) -> None:
        self._found: dict[Diagnostic, None] = {}
        self._errors = 0
        self._counted = 0
        self._most = most
        self.extend(found)

    def report(
        self,
        code: str,
        message: str,
        span: Span | None = None,
        hint: str = "",
        notes: tuple[Note, ...] = (),
        severity: Severity | None = None,
    ) -> None:
        """Adds a diagnostic, as severe as its code is if nothing else is said."""
        self._add(Diagnostic(code, message, span, hint, notes, severity))

    def extend(self, others: Iterable[Diagnostic]) -> None:
        for other in others:
            self._add(other)

    def _add(self, diagnostic: Diagnostic) -> None:
        if diagnostic in self._found:
            return
        if diagnostic.is_error:
            self._errors += 1
            self._counted += diagnostic.code != LIMIT
        if self._most is None or self._counted <= self._most:
            self._found[diagnostic] = None
            return
        message = f"more than {self._most} mistakes: checking stops here"
        self._found[Diagnostic(LIMIT, message, diagnostic.span, "correct the others first")] = None
        raise TooManyError

    def __iter__(self) -> Iterator[Diagnostic]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    @property
    def has_errors(self) -> bool:
        return self._errors > 0

    def in_order(self) -> tuple[Diagnostic, ...]:
        """All diagnostics by file and place; those without a place come first."""

        def place(diagnostic: Diagnostic) -> tuple[str, int, str]:
            span = diagnostic.span
            return (span.source.name, span.start, diagnostic.code) if span else ("", 0, diagnostic.code)

        return tuple(sorted(self._found, key=place))


class NestError(Exception):
    """Raised to Python callers where a program, a run or an argument has errors.

    `.diagnostics` holds everything that is wrong, at least one error, in the order of the text: each with its
    `code`, `message`, `span`, `hint` and `notes`. Printed, it is what the command line shows.

        try:
            nest = nestdsl.load("hope.nest")
        except nestdsl.NestError as error:
            codes = [one.code for one in error.diagnostics]
    """

    diagnostics: tuple[Diagnostic, ...]

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        try:
            found = tuple(diagnostics)
        except TypeError as error:
            raise _no_diagnostics() from error
        if not all(isinstance(one, Diagnostic) for one in found):
            raise _no_diagnostics()
        self.diagnostics = found
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        try:
            from nestdsl.diagnostics.render import render_text  # here: it costs a start of any command

            return "\n" + render_text(self.diagnostics)
        except MemoryError:  # of which N0503 may have to say that there is none left
            return "\n".join(f"{one.code}: {one.message}; {one.hint}" for one in self.diagnostics)


def _no_diagnostics() -> NestError:
    return fail("N0104", "NestError takes Diagnostics, and nothing else", f"give a list of them: {_FORM}")


def fail(code: str, message: str, hint: str = "", span: Span | None = None) -> NestError:
    """A NestError with one diagnostic, ready to raise."""
    return NestError((Diagnostic(code, message, span, hint),))
