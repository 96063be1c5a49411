"""What a syntax mistake is called: one diagnostic for each, in plain words, with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from nestdsl.diagnostics import Diagnostic, Note
from nestdsl.source import Source
from nestdsl.syntax.lines import (
    CLAUSE_WORDS,
    DECLARATION_WORDS,
    STATEMENT_WORDS,
    UNFINISHED,
    Line,
    Place,
    after_blanks,
    begins_line,
)
from nestdsl.syntax.wording import either, expected, nearest, quote

END = "$END"
UNREADABLE = "UNREADABLE"
"""The type of a mistake that is no word, number or sign at all."""

_WORDS = {
    Place.PROGRAM: DECLARATION_WORDS,
    Place.BODY: STATEMENT_WORDS,
    Place.CLAUSES: CLAUSE_WORDS,
}
_PLACES = {
    Place.PROGRAM: "a file holds the declarations",
    Place.BODY: "a body holds the statements",
    Place.CLAUSES: "these braces hold the clauses",
}
_CLOSES = {"(": ")", "[": "]"}
_BEGINS_OPERAND = frozenset({"NAME", "NUMBER", "STRING", "TRUE", "FALSE", "LPAR"})
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER_LIKE = re.compile(r"[0-9][A-Za-z0-9_.]*")

# Characters that people type, or that word processors put in, for something the language has.
_MEANT = {
    "\u2192": "`->`",
    "\u21d2": "`->`",
    ">": "`->`",
    "|": "`->`",
    "'": '`"` around a string',
    "\u201c": '`"` around a string',
    "\u201d": '`"` around a string',
    "\u2018": '`"` around a string',
    "\u2019": '`"` around a string',
    "\u00d7": "`*`",
    "\u00b7": "`*`",
    "\u2212": "`-`",
    "\u2013": "`-`",
    "\u00f7": "`/`",
    "^": "`**`",
    ":": "`=`",
    ";": "nothing: a statement ends with its line",
    "\u00a0": "an ordinary space: this one is a no-break space",
    "%": "`#` for a comment",
    "!": "`#` for a comment",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """The first thing that could not be read: its terminal, what it says and where it is."""

    kind: str
    text: str
    start: int
    rejected: Diagnostic | None = None

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def explain(
    source: Source, mistake: Mistake, line: Line, place: Place, start: int, accepts: Collection[str]
) -> Diagnostic:
    """The diagnostic of a mistake in the line that begins at `start`, where `accepts` could have stood."""
    if mistake.rejected is not None:
        return mistake.rejected
    if mistake.kind == UNREADABLE:
        return _unreadable(source, mistake)
    text = source.text
    if line.cut and mistake.start >= line.end:
        if line.bracket is not None:
            return unclosed_bracket(source, line.bracket)
        if line.last in UNFINISHED:
            return _unfinished(source, line, accepts if mistake.start == line.end else ())
    here = source.span(mistake.start, mistake.end)
    if after_blanks(text, start) == mistake.start:
        return _first_word(source, mistake, place)
    if mistake.kind in ("_NL", END, "RBRACE"):
        return _ends_early(source, mistake, line, accepts)
    if line.enclosing is not None:
        found = _in_brackets(source, mistake, line, accepts)
        if found is not None:
            return found
    if line.before == "chunk" or (mistake.text == "chunk" and "COMMA" in accepts):
        return Diagnostic("N0001", "missing `,` before `chunk`", here, "write `every 1 token, chunk 16`")
    if mistake.text in ("true", "false") and "NAME" in accepts:
        message = f"{quote(mistake.text)} is a value and cannot be a name"
        return Diagnostic("N0001", message, here, "choose another name")
    wanted = f"expected {expected(accepts)}" if set(accepts) - {"BROKEN"} else "this has no meaning here"
    found = f", found {quote(mistake.text)}" if mistake.text else ""
    return Diagnostic(
        "N0001", f"{wanted} after {quote(line.before)}{found}", here, _hint(mistake, line, text, start)
    )


def _hint(mistake: Mistake, line: Line, text: str, start: int) -> str:
    """What to write instead of a word or sign that cannot follow what stands before it."""
    first = _WORD.match(text, after_blanks(text, start))
    statement = first.group() if first else ""
    match mistake.kind:
        case "EQUAL" if statement == "flow":
            return "a flow is `flow name = expression`; `=` stands in it once"
        case "EQUAL":
            return "`=` stands between a name and its value"
        case "ARROW" if statement == "level":
            return "a level is made by one kind; pipes belong into a flow: `flow out = in -> name`"
        case "ARROW" if statement == "learn":
            return "a pipe in `learn` stands in parentheses: `learn (x -> f) -> value`"
        case "LSQB" if statement == "level":
            return "how many levels there are stands after the name: `level name[3] = kind`"
        case "LPAR" if line.before == "]":
            return "to read one level of an array, pipe into it: `x -> name[0]`"
        case "LBRACE" if statement in ("flow", "input", "use", "param"):
            return f"`{statement}` has no `{{ }}`"
        case "RSQB" | "RPAR":
            return "it closes nothing: remove it, or write the bracket that it should close"
        case "NAME" | "NUMBER" | "STRING" if line.before in statement and statement in ("level", "flow"):
            return f"write `{statement} name = ...`"
        case "NAME" if statement == "level" and line.before_end < mistake.start:
            return "write `level name = kind(arguments) { clauses }`"
    return ""


def _unreadable(source: Source, mistake: Mistake) -> Diagnostic:
    text = source.text
    character = text[mistake.start]
    here = source.span(mistake.start, mistake.start + 1)
    if character == '"':
        span = source.span(mistake.start, max(mistake.start + 1, mistake.end))
        return Diagnostic(
            "N0002",
            "this string is not closed",
            here if not mistake.text else span,
            'end it with `"` on the same line',
        )
    number = _NUMBER_LIKE.match(text, mistake.start)
    if number:
        span = source.span(*number.span())
        message = f"{quote(number.group())} is neither a number nor a name"
        return Diagnostic(
            "N0001", message, span, "a number is `12`, `0.5` or `1e-3`; a name begins with a letter"
        )
    if character.isalpha():
        message = f"{quote(character)} cannot stand in a name"
        return Diagnostic("N0001", message, here, "names have the letters a to z and A to Z, digits and `_`")
    if not character.isprintable() and character not in _MEANT:
        message = f"the character U+{ord(character):04X} has no meaning here"
        return Diagnostic("N0001", message, here, "remove it")
    message = f"{quote(character)} has no meaning here"
    hint = f"write {_MEANT[character]}" if character in _MEANT else ""
    if character == "." and text[mistake.start + 1 : mistake.start + 2].isdigit():
        hint = "a number begins with a digit: write `0.5`"
    return Diagnostic("N0001", message, here, hint)


def _first_word(source: Source, mistake: Mistake, place: Place) -> Diagnostic:
    here = source.span(mistake.start, mistake.end)
    word = mistake.text
    if word in UNFINISHED:
        message = f"`{word}` cannot start a line"
        if word in ("->", "+", "-", "*", "/", "**", ","):
            message += f": end the line before with `{word}`"
        return Diagnostic("N0001", message, here, f"a line that ends in `{word}` goes on in the next")
    words = _WORDS[place]
    holds = f"{_PLACES[place]} {either(f'`{keyword}`' for keyword in words)}"
    if word in CLAUSE_WORDS and place is Place.BODY:
        message = f"`{word}` is a clause: it stands in the `{{ }}` of a level, of `default` or of `train`"
        return Diagnostic("N0001", message, here, f"write `level name = kind {{ {word} ... }}`")
    if word in STATEMENT_WORDS and place is Place.PROGRAM:
        message = f"`{word}` stands inside a `block`, an `optimizer` or a `model`"
        return Diagnostic("N0001", message, here, "if it does already, a `}` above closes that too early")
    if word in STATEMENT_WORDS and place is Place.CLAUSES:
        message = f"`{word}` is a statement and cannot stand among clauses"
        return Diagnostic("N0001", message, here, "close the clauses with `}` and write it on its own line")
    if word in CLAUSE_WORDS and place is Place.PROGRAM:
        message = f"`{word}` stands in the `{{ }}` of a level, inside a `block`, an `optimizer` or a `model`"
        return Diagnostic("N0001", message, here, "if it does already, a `}` above closes that too early")
    if word in DECLARATION_WORDS and place is not Place.PROGRAM:
        message = f"`{word}` stands at the top of a file, not inside a body"
        return Diagnostic("N0001", message, here, "move it out of the braces")
    near = nearest(word, words) if _WORD.fullmatch(word) else None
    if near:
        return Diagnostic("N0001", f"{quote(word)} begins nothing", here, f"did you mean `{near}`?")
    begins = {Place.PROGRAM: "a declaration", Place.BODY: "a statement", Place.CLAUSES: "a clause"}[place]
    return Diagnostic("N0001", f"{quote(word)} does not begin {begins}", here, holds)


def _unfinished(source: Source, line: Line, accepts: Collection[str]) -> Diagnostic:
    """A line that ends in an operator although something new begins in the next."""
    span = source.span(line.last_end - len(line.last), line.last_end)
    wanted = expected(accepts) if accepts else ("a value" if line.last == "=" else "an expression")
    if line.last == "," and not accepts:
        wanted = "something"
    return Diagnostic(
        "N0001", f"expected {wanted} after `{line.last}`", span, f"write it, or remove the `{line.last}`"
    )


def _ends_early(source: Source, mistake: Mistake, line: Line, accepts: Collection[str]) -> Diagnostic:
    if mistake.kind == "RBRACE" and line.enclosing is not None:
        return unclosed_bracket(source, line.enclosing)
    span = source.span(line.before_end - len(line.before), line.before_end)
    hint = ""
    if set(accepts) - {"BROKEN"} == {"NAME"} and line.before.isalpha():
        hint = f"write `{line.before} name`" if line.before != "reset" else "write `reset context`"
    return Diagnostic("N0001", f"expected {expected(accepts)} after {quote(line.before)}", span, hint)


def _in_brackets(source: Source, mistake: Mistake, line: Line, accepts: Collection[str]) -> Diagnostic | None:
    assert line.enclosing is not None
    opening = source.text[line.enclosing]
    note = Note(f"the `{opening}` that is open here", source.span(line.enclosing, line.enclosing + 1))
    here = source.span(mistake.start, mistake.end)
    closing = _CLOSES[opening]
    if mistake.kind in ("RPAR", "RSQB") and mistake.text != closing and closing_accepted(accepts, closing):
        return Diagnostic("N0001", f"expected `{closing}`, found `{mistake.text}`", here, "", (note,))
    if mistake.kind == "LBRACE":
        return unclosed_bracket(source, line.enclosing)
    if "COMMA" in accepts and mistake.kind in _BEGINS_OPERAND:
        gap = source.span(line.before_end - len(line.before), mistake.end)
        return Diagnostic(
            "N0001", "missing `,` between arguments", gap, f"write `{line.before}, {mistake.text}`"
        )
    return None


def closing_accepted(accepts: Collection[str], closing: str) -> bool:
    """Whether the closing bracket could stand here."""
    return ("RPAR" if closing == ")" else "RSQB") in accepts


def unclosed_bracket(source: Source, offset: int) -> Diagnostic:
    """N0002 for a `(` or `[`."""
    sign = source.text[offset]
    span = source.span(offset, offset + 1)
    return Diagnostic("N0002", f"this `{sign}` is not closed", span, f"write the missing `{_CLOSES[sign]}`")


def unclosed_brace(source: Source, offset: int, until: int) -> Diagnostic:
    """N0002 for a `{` that should have been closed before `until`."""
    span = source.span(offset, offset + 1)
    if until >= len(source.text):
        return Diagnostic(
            "N0002", "this `{` is not closed", span, "write the missing `}` before the end of the file"
        )
    word = _WORD.match(source.text, until)
    found = source.span(until, word.end() if word else until + 1)
    note = Note("it should be closed before this line", found)
    return Diagnostic(
        "N0002", "this `{` is not closed", span, f"write the missing `}}` before {quote(found.text)}", (note,)
    )


def brace_on_next_line(source: Source, offset: int, owner: str) -> Diagnostic:
    """N0001 for a `{` that begins a line."""
    span = source.span(offset, offset + 1)
    message = f"the opening `{{` stands on the line of its {owner}"
    return Diagnostic("N0001", message, span, "write `{` at the end of the line before")


def missing_brace(source: Source, offset: int, owner: str) -> Diagnostic:
    """N0001 for a body or clauses without their `{`."""
    span = source.span(offset, offset)
    message = f"expected `{{` at the end of this line: it opens the {owner}"
    return Diagnostic(
        "N0001", message, span, "write `{` here, and `}` after the last line that belongs to it"
    )


def extra_brace(source: Source, start: int, end: int) -> Diagnostic:
    """N0001 for a `}` too many."""
    message = "this `}` closes nothing"
    return Diagnostic("N0001", message, source.span(start, end), "remove it, or look for a `{` missing above")


def second_on_line(source: Source, mistake: Mistake) -> Diagnostic:
    """N0001 for a statement that begins where another has just ended."""
    here = source.span(mistake.start, mistake.end)
    what = quote(mistake.text)
    if begins_line(source.text, mistake.start):
        return Diagnostic("N0001", f"expected the end of the line, found {what}", here)
    return Diagnostic(
        "N0001", f"expected the end of the line, found {what}", here, "write it on a line of its own"
    )
