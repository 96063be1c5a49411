"""What a page says of one level, or of several alike: rows of words, then equations."""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.vocabulary.terms import Equation, Line


@dataclass(frozen=True, slots=True)
class Row:
    """A label with lines beside it."""

    label: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """A declared level of a section, and its number of copies."""

    name: str
    copies: int


@dataclass(frozen=True, slots=True)
class Section:
    """Levels of one rank that differ in nothing but names and sizes.

    `equations` are in groups, each with its label: update, read, where.
    """

    rank: int
    kind: str
    members: tuple[Member, ...]
    rows: tuple[Row, ...]
    equations: tuple[tuple[str, tuple[Equation, ...]], ...]


def row(label: str, *lines: str | Line) -> Row:
    """A row of lines, each plain words or words with terms."""
    return Row(label, tuple((line,) if isinstance(line, str) else line for line in lines))


NEVER_RESET = row("reset", "never: its state goes on along a stream of sequences")
