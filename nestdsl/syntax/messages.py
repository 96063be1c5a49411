"""What a syntax mistake is called: one diagnostic for each, in plain words, with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from nestdsl.diagnostics import Diagnostic, Note
from nestdsl.source import Source, Span
from nestdsl.syntax import habits
from nestdsl.syntax.lines import (
    CLAUSE_WORDS,
    DECLARATION_WORDS,
    STATEMENT_WORDS,
    UNFINISHED,
    Line,
    Place,
    after_blanks,
    line_end,
)
from nestdsl.syntax.wording import either, expected, nearest, quote, unquoted

END = "$END"
UNREADABLE = "UNREADABLE"
"""The type of a mistake that is no word, number or sign at all."""

WORDS = {
    Place.PROGRAM: DECLARATION_WORDS,
    Place.BODY: STATEMENT_WORDS,
    Place.CLAUSES: CLAUSE_WORDS,
}
"""The words that can begin something there."""

_BEGINS = {Place.PROGRAM: "a declaration", Place.BODY: "a statement", Place.CLAUSES: "a clause"}
_CLOSING = {"(": ")", "[": "]"}
_BEGINS_OPERAND = frozenset({"NAME", "NUMBER", "STRING", "TRUE", "FALSE", "LPAR"})
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER_LIKE = re.compile(r"[0-9][A-Za-z0-9_.]*")

# Characters that people type, or that word processors put in, for something the language has.
_MEANT = {
    "\u2192": "`->`",
    "\u21d2": "`->`",
    ">": "`->`; there are no comparisons: `sign`, `relu`, `max`, `min` and `clip` choose between values",
    "|": "`->`",
    "<": "`max`, `min`, `sign` or `relu`: there are no comparisons",
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
    comment = comment_start(source.text, mistake)
    if comment is not None:
        return foreign_comment(source, comment)
    if mistake.kind in ("EQUAL", UNREADABLE, "DOT"):
        first = _WORD.match(source.text, after_blanks(source.text, start))
        statement = first.group() if first and place is not Place.PROGRAM else ""
        habit = habits.explain(source, mistake.start, line, statement)
        if habit is not None:
            return habit
    if mistake.kind == UNREADABLE:
        return _unreadable(source, mistake)
    if line.cut and mistake.start >= line.end:
        if line.bracket is not None:
            return _unclosed_bracket(source, line.bracket)
        if line.last in UNFINISHED:
            return _unfinished(source, line, accepts if mistake.start == line.end else ())
    if after_blanks(source.text, start) == mistake.start:
        return _first_word(source, mistake, place)
    first = _WORD.match(source.text, after_blanks(source.text, start))
    if first and first.group() == "only" and line.enclosing is None and {"ELSE", "NAME"} & {*accepts}:
        return _only(source, mistake, line, accepts)
    if mistake.kind in ("_NL", END) or (mistake.kind == "RBRACE" and line.end <= mistake.start):
        return _ends_early(source, mistake, line, accepts)
    if line.enclosing is not None:
        in_brackets = _in_brackets(source, mistake, line, line.enclosing, accepts)
        if in_brackets is not None:
            return in_brackets
    return _unexpected(source, mistake, line, start, accepts)


def _unexpected(
    source: Source, mistake: Mistake, line: Line, start: int, accepts: Collection[str]
) -> Diagnostic:
    """A word or sign that cannot follow what stands before it."""
    here = source.span(mistake.start, mistake.end)
    if line.before == "chunk" or (mistake.text == "chunk" and "COMMA" in accepts):
        return _syntax("missing `,` before `chunk`", here, "write `every 1 token, chunk 16`")
    if mistake.text in ("true", "false") and "NAME" in accepts:
        return _syntax(f"`{mistake.text}` is a value and cannot be a name", here, "choose another name")
    message = f"expected {expected(accepts)} after {quote(line.before)}, found {quote(mistake.text)}"
    return _syntax(message, here, _hint(source.text, mistake, line, start, accepts))


def _only(source: Source, mistake: Mistake, line: Line, accepts: Collection[str]) -> Diagnostic:
    """`only` is one phrase, which is said as a whole."""
    is_nameless = line.before == "else" and "ELSE" in accepts  # `else` was read as what is driven
    wanted = "`matrices` after `only`" if is_nameless or line.before == "only" else None
    wanted = wanted or ("`else`" if "ELSE" in accepts else "an optimizer") + f" after {quote(line.before)}"
    is_at_end = mistake.kind in ("_NL", END) or mistake.start >= line.end
    found = "" if is_at_end or is_nameless else f", found {quote(mistake.text)}"
    here = source.span(mistake.start, mistake.end)
    if is_at_end:
        here = source.span(line.end - len(line.last), line.end)
    return _syntax(f"expected {wanted}{found}", here, "write `only matrices else adamw(lr = lr)`")


def _hint(text: str, mistake: Mistake, line: Line, start: int, accepts: Collection[str]) -> str:
    first = _WORD.match(text, after_blanks(text, start))
    statement = first.group() if first else ""
    match mistake.kind:
        case _ if line.before == statement == "level":
            return "write `level name = kind(arguments) { clauses }`"
        case _ if line.before == statement and statement in ("flow", "param"):
            return f"write `{statement} name = expression`"
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
        case "SLASH" if statement == "use":
            return 'write `use std.titans` for the library, or `use "blocks/mine.nest"` for a file'
        case "COMMA" if "RPAR" in accepts:
            return "parentheses hold one expression: give each value an argument of its own"
        case "DOT":
            return "a number begins with a digit: write `0.5`"
        case "NAME":
            near = nearest(mistake.text, (word.lower() for word in accepts if word.isalpha()))
            if near:
                return f"did you mean `{near}`?"
    return _instead(accepts)


def _instead(accepts: Collection[str]) -> str:
    """What to do where a part is missing, or something stands behind the last."""
    if "NUMBER" in accepts:
        return "write a name, a number, a string, a call such as `f(x)`, or an expression in parentheses"
    if "_NL" in accepts or END in accepts:
        return "remove what follows, or write it on a line of its own"
    return f"write {expected(accepts)} here" if accepts else "remove it"


def _unreadable(source: Source, mistake: Mistake) -> Diagnostic:
    """A character that begins no word, number or sign."""
    text, start = source.text, mistake.start
    character = text[start]
    here = source.span(start, start + 1)
    number = _NUMBER_LIKE.match(text, start)
    if number:
        hint = "a number is `12`, `0.5` or `1e-3`; a name begins with a letter"
        message = f"{quote(number.group())} is neither a number nor a name"
        return _syntax(message, source.span(*number.span()), hint)
    if character == '"':
        span = source.span(start, line_end(text, start))
        return Diagnostic("N0002", "this string is not closed", span, 'end it with `"` on the same line')
    if character in _MEANT:
        return _syntax(f"{quote(character)} has no meaning here", here, f"write {_MEANT[character]}")
    if character.isalpha():
        message = f"{quote(character)} cannot stand in a name"
        return _syntax(message, here, "names have the letters a to z and A to Z, digits and `_`")
    if not character.isprintable():
        return _syntax(f"the character U+{ord(character):04X} has no meaning here", here, "remove it")
    return _syntax(f"{quote(character)} has no meaning here", here, "remove it, or begin a comment with `#`")


def _first_word(source: Source, mistake: Mistake, place: Place) -> Diagnostic:
    """Something that cannot begin a declaration, a statement or a clause."""
    here = source.span(mistake.start, mistake.end)
    word = mistake.text
    if word in UNFINISHED:
        message = f"`{word}` cannot start a line: end the line before with `{word}`"
        return _syntax(message, here, f"a line that ends in `{word}` goes on in the next")
    inside = "inside a `block`, an `optimizer` or a `model`"
    too_early = "if it does already, a `}` above closes that too early"
    match place:
        case Place.PROGRAM if word in STATEMENT_WORDS:
            return _syntax(f"`{word}` stands {inside}", here, too_early)
        case Place.PROGRAM if word in CLAUSE_WORDS and word not in DECLARATION_WORDS:
            return _syntax(f"`{word}` stands in the `{{ }}` of a level, {inside}", here, too_early)
        case Place.BODY if word in CLAUSE_WORDS:
            message = f"`{word}` is a clause: it stands in the `{{ }}` of a level, of `default` or of `train`"
            return _syntax(message, here, f"write `level name = kind {{ {word} ... }}`")
        case Place.CLAUSES if word in STATEMENT_WORDS:
            message = f"`{word}` is a statement and cannot stand among clauses"
            return _syntax(message, here, "close the clauses with `}` and write it on its own line")
        case Place.BODY | Place.CLAUSES if word in DECLARATION_WORDS:
            message = f"`{word}` stands at the top of a file, not inside a body"
            return _syntax(message, here, "move it out of the braces, or close them before it")
    words = WORDS[place]
    near = nearest(word, words) if _WORD.fullmatch(word) else None
    message = f"{quote(word)} does not begin {_BEGINS[place]}"
    if near:
        return _syntax(message, here, f"did you mean `{near}`?")
    return _syntax(message, here, f"{_BEGINS[place]} begins with {either(f'`{known}`' for known in words)}")


def _unfinished(source: Source, line: Line, accepts: Collection[str]) -> Diagnostic:
    """A line that ends in an operator although something new begins in the next."""
    span = source.span(line.last_end - len(line.last), line.last_end)
    wanted = expected(accepts) or ("more" if line.last == "," else "an expression")
    hint = f"write it, or remove the `{line.last}`"
    return _syntax(f"expected {wanted} after `{line.last}`", span, hint)


def _ends_early(source: Source, mistake: Mistake, line: Line, accepts: Collection[str]) -> Diagnostic:
    """A line, a pair of braces or a file that ends inside a statement."""
    if line.enclosing is not None:
        return _unclosed_bracket(source, line.enclosing)
    span = source.span(line.before_end - len(line.before), line.before_end)
    hint = _instead(accepts)
    if set(accepts) == {"NAME"} and _WORD.fullmatch(line.before):
        example = {"reset": "reset context", "input": "input ids(256)"}.get(
            line.before, f"{line.before} name"
        )
        hint = f"write `{example}`"
    return _syntax(f"expected {expected(accepts)} after {quote(line.before)}", span, hint)


def _in_brackets(
    source: Source, mistake: Mistake, line: Line, opening: int, accepts: Collection[str]
) -> Diagnostic | None:
    """A mistake that has to do with the bracket around it."""
    here = source.span(mistake.start, mistake.end)
    bracket = source.text[opening]
    closing = _CLOSING[bracket]
    if mistake.kind in ("RPAR", "RSQB") and mistake.text != closing:
        note = Note(f"this is the `{bracket}` that is open", source.span(opening, opening + 1))
        return _syntax(f"expected `{closing}`, found `{mistake.text}`", here, f"write `{closing}`", (note,))
    if "COMMA" in accepts and mistake.kind in _BEGINS_OPERAND:
        span = source.span(line.before_end - len(line.before), mistake.end)
        hint = f"write `{unquoted(line.before)}, {unquoted(mistake.text)}`"
        return _syntax("missing `,` between arguments", span, hint)
    return None


# --- braces --------------------------------------------------------------------------------------


def unclosed_braces(source: Source, offsets: Sequence[int], until: int) -> Diagnostic:
    """N0002 for one `{` or several, from the outermost, that should have been closed before `until`."""
    places = [source.span(offset, offset + 1) for offset in offsets]
    message = "this `{` is not closed" if len(places) == 1 else f"{len(places)} `{{` are not closed"
    notes = [Note("nor is this one", place) for place in places[1:]]
    before = "the end of the file"
    word = _WORD.match(source.text, until)
    if word is not None:
        notes.append(Note("it should be closed before this", source.span(*word.span())))
        before = quote(word.group())
    hint = f"write the missing `{'}' * len(places)}` before {before}"
    return Diagnostic("N0002", message, places[0], hint, tuple(notes))


def comment_start(text: str, mistake: Mistake) -> int | None:
    """Where the `//` begins whose first or second sign is the mistake; None if there is none."""
    if mistake.kind != "SLASH":
        return None
    if text.startswith("//", mistake.start - 1):
        return mistake.start - 1
    return mistake.start if text.startswith("//", mistake.start) else None


def foreign_comment(source: Source, start: int) -> Diagnostic:
    """N0001 for a comment that begins as in other languages."""
    return _syntax("`//` begins no comment here", source.span(start, start + 2), "comments begin with `#`")


def brace_on_next_line(source: Source, offset: int, owner: str) -> Diagnostic:
    """N0001 for a `{` that begins a line."""
    message = f"the opening `{{` stands on the line of its {owner}"
    return _syntax(message, source.span(offset, offset + 1), "write `{` at the end of the line before")


def missing_brace(source: Source, offset: int, owner: str) -> Diagnostic:
    """N0001 for a body or clauses without their `{`."""
    what = "body" if owner in DECLARATION_WORDS else "clauses"
    message = f"expected `{{` at the end of this line: it opens the {what} of the `{owner}`"
    return _syntax(message, source.span(offset, offset), "write `{` here, and `}` after its last line")


def extra_brace(source: Source, start: int, end: int) -> Diagnostic:
    """N0001 for one or more `}` too many."""
    hint = "remove it, or write the `{` that it should close"
    return _syntax("this `}` closes nothing", source.span(start, end), hint)


def second_on_line(source: Source, mistake: Mistake) -> Diagnostic:
    """N0001 for something after the end of a statement, on its line."""
    message = f"expected the end of the line, found {quote(mistake.text)}"
    if mistake.kind == UNREADABLE:
        return _unreadable(source, mistake)
    return _syntax(message, source.span(mistake.start, mistake.end), "write it on a line of its own")


# --- helpers -------------------------------------------------------------------------------------


def _syntax(message: str, span: Span, hint: str = "", notes: tuple[Note, ...] = ()) -> Diagnostic:
    return Diagnostic("N0001", message, span, hint, notes)


def _unclosed_bracket(source: Source, offset: int) -> Diagnostic:
    sign = source.text[offset]
    span = source.span(offset, offset + 1)
    return Diagnostic("N0002", f"this `{sign}` is not closed", span, f"write the missing `{_CLOSING[sign]}`")
