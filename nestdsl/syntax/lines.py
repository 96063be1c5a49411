"""Logical lines, read without the parser: how far a mistake reaches, and where reading goes on.

Recovery must not trust the grammar in a line that does not follow it, so this looks at words,
brackets and line ends only. A line that plainly begins something new ends the line before it,
whatever bracket that one left open.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

DECLARATION_WORDS = ("use", "param", "block", "optimizer", "model")
STATEMENT_WORDS = ("level", "flow", "default", "input", "train", "only")
CLAUSE_WORDS = ("learn", "objective", "every", "optimizer", "init", "reset", "gradient", "read", "frozen")
UNFINISHED = frozenset(("->", "**", "+", "-", "*", "/", "=", ","))

_DECLARATION = (
    r'(?:use[ \t]+["A-Za-z_]|(?:param|block|model)[ \t]+[A-Za-z_]|optimizer[ \t]+[A-Za-z_][^\n{}]*+\{)'
)
_STATEMENT = r"(?:(?:level|flow|input|only)[ \t]+[A-Za-z_]|(?:default|train)[ \t]*\{)"
_CLAUSE = (
    r'(?:(?:learn|objective|every|optimizer|init|reset|gradient|read)[ \t]+[\w"]|frozen[ \t\r]*(?:[\n#}]|\Z))'
)
DECLARATION = re.compile(_DECLARATION)
STATEMENT = re.compile(_STATEMENT)
CLAUSE = re.compile(_CLAUSE)
_NEW_IN_BODY = re.compile(rf"[ \t\r\f\ufeff]*(?:{_DECLARATION}|{_STATEMENT}|\}})")
_NEW_IN_CLAUSES = re.compile(rf"[ \t\r\f\ufeff]*(?:{_DECLARATION}|{_STATEMENT}|{_CLAUSE}|\}})")
_PAIR = re.compile(r"\{[^{}()\[\]\n]*\}")
_RUN_OF_BRACES = re.compile(r"[} \t\r]+")
_NEXT_DECLARATION = re.compile(rf"\n(?=[ \t\r\f\ufeff]*{_DECLARATION})")

_NUMBER = r"[0-9](?:[\w.]|(?<=[eE])[+-](?=[0-9]))*"
# `//` and `/* */` begin no comment, but what is in them was written as one: it is not read.
_COMMENT = r"(?:#|//)[^\n]*|/\*(?:[^*]|\*(?!/))*+(?:\*/)?"
_PIECE = re.compile(
    rf'[ \t\r\f\ufeff]+|{_COMMENT}|\n|"[^"\n]*"?|[A-Za-z_][A-Za-z0-9_]*|{_NUMBER}|->|\*\*|.', re.DOTALL
)
_BLANK = re.compile(r"[ \t\r\f\ufeff]*")
_GAP = re.compile(rf"(?:[ \t\r\f\n\ufeff]+|{_COMMENT})*")
GOES_ON = re.compile(r"->|\*\*|[+\-*/=,]")
"""What cannot begin a line: it was meant to go on with the line before."""


class Place(Enum):
    """What the text between two braces holds."""

    PROGRAM = "program"
    BODY = "body"
    CLAUSES = "clauses"


@dataclass(frozen=True, slots=True)
class Line:
    """The logical line of a mistake.

    `end` is where reading goes on; `cut` says that something new begins there although the line
    was not finished, and `bracket` is then the offset of the bracket it left open. `last` is the
    last word or sign of the line, up to `last_end`; `before` and `before_end` the one before
    the mistake, and `enclosing` the offset of the bracket around the mistake.
    """

    end: int
    cut: bool
    bracket: int | None
    last: str
    last_end: int
    before: str
    before_end: int
    enclosing: int | None


def read_line(
    text: str, start: int, mistake: int, place: Place, opened: int, *, opens: bool, at_keyword: bool
) -> Line:
    """The line that begins at `start` and has its mistake at `mistake`.

    `opened` is the offset of the `{` around it, or -1. `opens` says that a `{` on this line opens its
    body or its clauses, so that reading goes on there. `at_keyword` says that the mistake is itself
    the keyword of a clause.
    """
    begins_new = _NEW_IN_CLAUSES if place is Place.CLAUSES else _NEW_IN_BODY
    brackets: list[int] = []
    braces = 0
    last, last_end = "", start
    before, before_end = "", start
    enclosing: int | None = None
    passed = False
    end, cut = len(text), True
    here = _Here(text, start)
    for piece in _PIECE.finditer(text, start):
        position = piece.start()
        word = piece.group()
        sign = word[0]
        if sign in " \t\r\f\ufeff#" or word.startswith(("//", "/*")):
            continue
        if not passed and position >= mistake:
            passed = True
            before, before_end, enclosing = last, last_end, brackets[-1] if brackets else None
        if sign == "\n":
            goes_on = last in UNFINISHED or GOES_ON.match(text, here.after_blanks(position))
            here.line_start = position + 1
            if not braces and not brackets and not goes_on:
                end, cut = position, False
                break
            if (begins_new if not braces else DECLARATION).match(text, position + 1):
                end = position
                break
            continue
        if sign == "{":
            if opens and not braces:
                end, cut = position, bool(brackets)
                break
            if braces or not _opens_nothing(here, start, position, bool(brackets)):
                braces += 1
        elif sign == "}":
            if braces:
                braces -= 1
            elif here.begins_line(last, last_end) or not _closes_nothing(here, opened, position):
                end = position
                break
        elif braces:
            pass
        elif sign in "([":
            brackets.append(position)
        elif sign in ")]":
            if brackets:
                brackets.pop()
        elif (
            place is Place.CLAUSES
            and position > start
            and (position > mistake or (position == mistake and (at_keyword or brackets)))
            and word in CLAUSE_WORDS
            and last not in UNFINISHED
            and CLAUSE.match(text, position)
        ):
            end, cut = position, bool(brackets)
            break
        last, last_end = word, piece.end()
    bracket = brackets[-1] if brackets else None
    if not passed:
        before, before_end, enclosing = last, last_end, bracket
    return Line(end, cut, bracket, last, last_end, before, before_end, enclosing)


class _Here:
    """Where `read_line` is on its way through a text, and what stands around that.

    A line and a run of blanks or braces may be as long as the file: each is looked at once, and not
    again from every place in it.
    """

    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.start = start
        self.line_start = text.rfind("\n", 0, start) + 1
        self._starts_line = begins_line(text, start)
        self._gap_end = self._run_end = -1
        self._run_ends_line = False
        self._indentation: int | None = None

    @property
    def indentation(self) -> int:
        """Of the first line."""
        if self._indentation is None:
            self._indentation = indentation(self.text, self.start)
        return self._indentation

    def begins_line(self, last: str, last_end: int) -> bool:
        """Whether nothing but blanks stands between `last`, which ends there, and the start of this line."""
        return last_end <= self.line_start if last else self._starts_line or self.line_start > self.start

    def after_blanks(self, position: int) -> int:
        if position >= self._gap_end:
            self._gap_end = after_blanks(self.text, position)
        return self._gap_end

    def ends_with_braces(self, position: int) -> bool:
        """Whether nothing but `}` and a comment stands between here and the end of the line."""
        if position >= self._run_end:
            run = _RUN_OF_BRACES.match(self.text, position)
            self._run_end = run.end() if run else position
            self._run_ends_line = self.text[self._run_end : self._run_end + 1] in ("", "#", "\n")
        return self._run_ends_line


def _opens_nothing(here: _Here, start: int, brace: int, in_brackets: bool) -> bool:
    """Whether a `{` that has no place here is a slip of its own, with no `}` that belongs to it."""
    if in_brackets:
        return not _PAIR.match(here.text, brace)
    following = here.after_blanks(brace + 1)
    if here.text.find("\n", brace, following) < 0:
        return False
    return indentation(here.text, following) <= here.indentation


def _closes_nothing(here: _Here, opened: int, brace: int) -> bool:
    """Whether a `}` is a slip: inside a line, and the `{` that it would close on another."""
    return opened < here.line_start and not here.ends_with_braces(brace)


def begins_line(text: str, offset: int) -> bool:
    """Whether only blanks stand before `offset` on its line."""
    return not text[text.rfind("\n", 0, offset) + 1 : offset].strip(" \t\r\f\ufeff")


def indentation(text: str, offset: int) -> int:
    """How many characters of blanks the line of `offset` begins with."""
    start = text.rfind("\n", 0, offset) + 1
    blank = _BLANK.match(text, start)
    assert blank is not None
    return blank.end() - start


def after_blanks(text: str, offset: int) -> int:
    """The next character that is neither blank, comment nor line end."""
    gap = _GAP.match(text, offset)
    assert gap is not None
    return gap.end()


def line_end(text: str, offset: int) -> int:
    """Where the line of `offset` ends."""
    end = text.find("\n", offset)
    return len(text) if end < 0 else end


def next_declaration(text: str, offset: int) -> int:
    """The line end before the next declaration, or the end of the text."""
    found = _NEXT_DECLARATION.search(text, offset)
    return found.start() if found else len(text)
