"""The first thing in a statement that could not be read, and what is known about its place."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from nestdsl.diagnostics import Diagnostic, Note
from nestdsl.source import Source, Span
from nestdsl.syntax.lines import Line, Place, after_blanks

END = "$END"
UNREADABLE = "UNREADABLE"
"""The type of a mistake that is no word, number or sign at all."""
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_OWNER = re.compile(r"^[ \t]*(block|optimizer|model)[ \t]+[A-Za-z_][^\n]*\{", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Mistake:
    """The first thing that could not be read: its terminal, its text and where it is."""

    kind: str
    text: str
    start: int
    rejected: Diagnostic | None = None

    @property
    def end(self) -> int:
        return self.start + len(self.text)


@dataclass(frozen=True, slots=True)
class Here:
    """A mistake in the logical line that begins at `start`, where `accepts` could have stood.

    `brace` is the offset of the `{` around it, or -1.
    """

    source: Source
    mistake: Mistake
    line: Line
    place: Place
    start: int
    accepts: Collection[str]
    brace: int = -1

    @property
    def text(self) -> str:
        return self.source.text

    @property
    def first(self) -> int:
        """The offset of the first word of the statement, clause or declaration."""
        return after_blanks(self.text, self.start)

    @property
    def statement(self) -> str:
        """The word that the statement, clause or declaration begins with; "" for anything else."""
        word = WORD.match(self.text, self.first)
        return word.group() if word else ""

    @property
    def is_first(self) -> bool:
        """Whether nothing of the statement stands before the mistake."""
        return self.first == self.mistake.start

    @property
    def before_start(self) -> int:
        """The offset of the word or sign before the mistake."""
        return self.line.before_end - len(self.line.before)

    @property
    def owner(self) -> str:
        """The word of the declaration around the mistake; "" at the top of a file."""
        if self.place is Place.PROGRAM:
            return ""
        owners = _OWNER.findall(self.text, 0, self.mistake.start)
        return owners[-1] if owners else ""

    def span(self, start: int, end: int) -> Span:
        return self.source.span(start, end)


def syntax(message: str, span: Span, hint: str = "", notes: tuple[Note, ...] = ()) -> Diagnostic:
    """N0001, the code of text that does not follow the grammar."""
    return Diagnostic("N0001", message, span, hint, notes)
