"""What a syntax mistake is called: one diagnostic for each, in plain words, with what to write instead."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from nestdsl.diagnostics import Diagnostic, Note
from nestdsl.source import Source
from nestdsl.syntax import foreign_words, habits
from nestdsl.syntax.lines import (
    CLAUSE_WORDS,
    DECLARATION_WORDS,
    STATEMENT_WORDS,
    UNFINISHED,
    Line,
    Place,
    begins_line,
    line_end,
)
from nestdsl.syntax.mistakes import END, UNREADABLE, WORD, Here, Mistake, syntax
from nestdsl.syntax.signs import foreign_operator, unreadable
from nestdsl.syntax.wording import either, expected, nearest, quote, unquoted

WORDS = {
    Place.PROGRAM: DECLARATION_WORDS,
    Place.BODY: STATEMENT_WORDS,
    Place.CLAUSES: CLAUSE_WORDS,
}
"""The words that can begin something there."""

_BEGINS = {Place.PROGRAM: "a declaration", Place.BODY: "a statement", Place.CLAUSES: "a clause"}
_CLOSING = {"(": ")", "[": "]"}
_COMMENT_SIGN = re.compile(r"//|/\*|--|\"\"\"|'''")
_LEVEL_LINE = re.compile(r"\n[ \t]*level[ \t][^\n{}]*\n\s*$")
_BEGINS_OPERAND = frozenset({"NAME", "NUMBER", "STRING", "TRUE", "FALSE", "LPAR"})


def explain(here: Here) -> Diagnostic:
    """The diagnostic of a mistake."""
    source, mistake, line, accepts = here.source, here.mistake, here.line, here.accepts
    if mistake.rejected is not None:
        return mistake.rejected
    comment = comment_at(source.text, mistake)
    if comment is not None:
        return foreign_comment(source, comment)
    if line.cut and mistake.start >= line.end and line.bracket is not None:
        return _unclosed_bracket(source, line.bracket)
    found = foreign_words.explain(here) or (None if _is_at_end(here) else habits.explain(here))
    if found is not None:
        return found
    if mistake.kind == UNREADABLE:
        return unreadable(here)
    if line.cut and mistake.start >= line.end and line.last in UNFINISHED:
        return _unfinished(source, line, accepts if mistake.start == line.end else ())
    if here.is_first:
        return _first_word(here)
    if here.statement == "only" and line.enclosing is None and {"ELSE", "NAME"} & {*accepts}:
        return _only(source, mistake, line, accepts)
    if _is_at_end(here):
        return _ends_early(here)
    if line.enclosing is not None:
        in_brackets = _in_brackets(source, mistake, line, line.enclosing, accepts)
        if in_brackets is not None:
            return in_brackets
    return _unexpected(here)


def _is_at_end(here: Here) -> bool:
    """Whether the statement ends where more of it was to stand."""
    mistake = here.mistake
    return mistake.kind in ("_NL", END) or (mistake.kind == "RBRACE" and here.line.end <= mistake.start)


def _unexpected(here: Here) -> Diagnostic:
    """A word or sign that cannot follow what stands before it."""
    mistake, line, accepts = here.mistake, here.line, here.accepts
    span = here.span(mistake.start, mistake.end)
    if mistake.text in ("true", "false") and "NAME" in accepts:
        return syntax(f"`{mistake.text}` is a value and cannot be a name", span, "choose another name")
    message = f"expected {expected(accepts)} after {quote(line.before)}, found {quote(mistake.text)}"
    if line.before == "," and mistake.text in CLAUSE_WORDS:
        span = here.span(here.before_start, line.before_end)
        return syntax(
            "clauses stand side by side", span, "remove it: the next clause begins with its keyword"
        )
    brace = here.text.find("{", mistake.start, line_end(here.text, mistake.start))
    if {*accepts} <= {"LBRACE", "LPAR"} and brace > 0 and mistake.kind != "NAME":
        return syntax(message, here.span(mistake.start, brace), "remove it: a body follows in `{ }`")
    if mistake.kind == "ARROW" and line.before == "->":
        return syntax(message, span, "remove it")
    return syntax(message, span, _hint(here))


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
    return syntax(f"expected {wanted}{found}", here, "write `only matrices else adamw(lr = lr)`")


def _hint(here: Here) -> str:
    mistake, line, accepts, statement = here.mistake, here.line, here.accepts, here.statement
    match mistake.kind:
        case _ if line.before == statement == "level":
            return "a level is `level name = kind(arguments) { clauses }`"
        case _ if line.before == statement and statement in ("flow", "param"):
            return f"a {statement} is `{statement} name = expression`"
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
        case "RSQB" if line.before == "[":
            return "write how many there are, such as `level name[3] = kind`"
        case "RSQB" | "RPAR":
            return "remove it: it closes nothing, unless a bracket before it is missing"
        case "SLASH" if statement == "use":
            return 'write `.`: a file of your own stands in quotes, as in `use "blocks/mine.nest"`'
        case "COMMA" if "RPAR" in accepts:
            return "parentheses hold one expression: give each value an argument of its own"
        case "PLUS" if "NUMBER" in accepts:
            return "remove it"
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


def _first_word(here: Here) -> Diagnostic:
    """Something that cannot begin a declaration, a statement or a clause."""
    place, word = here.place, here.mistake.text
    span = here.span(here.mistake.start, here.mistake.end)
    if word in UNFINISHED:
        message = f"`{word}` cannot start a line: end the line before with `{word}`"
        return syntax(message, span, f"a line that ends in `{word}` goes on in the next")
    inside = "inside a `block`, an `optimizer` or a `model`"
    too_early = "if it does already, a `}` above closes that too early"
    match place:
        case Place.PROGRAM if word in STATEMENT_WORDS:
            return syntax(f"`{word}` stands {inside}", span, too_early)
        case Place.PROGRAM if word in CLAUSE_WORDS and word not in DECLARATION_WORDS:
            return syntax(f"`{word}` stands in the `{{ }}` of a level, {inside}", span, too_early)
        case Place.BODY if word in CLAUSE_WORDS:
            message = f"`{word}` is a clause: it stands in the `{{ }}` of a level, of `default` or of `train`"
            if _LEVEL_LINE.search(here.text, 0, here.mistake.start):
                hint = "write `{` at the end of the line before, and `}` after the clauses"
            else:
                hint = f"a level with clauses is `level name = kind {{ {word} ... }}`"
            return syntax(message, span, hint)
        case Place.CLAUSES if word in STATEMENT_WORDS:
            message = f"`{word}` is a statement and cannot stand among clauses"
            return syntax(message, span, "close the clauses with `}` and write it on its own line")
        case Place.BODY | Place.CLAUSES if word in DECLARATION_WORDS:
            message = f"`{word}` stands at the top of a file, not inside a body"
            return syntax(message, span, "move it out of the braces, or close them before it")
    words = WORDS[place]
    near = nearest(word, words) if WORD.fullmatch(word) else None
    message = f"{quote(word)} does not begin {_BEGINS[place]}"
    if near:
        return syntax(message, span, f"did you mean `{near}`?")
    return syntax(message, span, f"{_BEGINS[place]} begins with {either(f'`{known}`' for known in words)}")


def _unfinished(source: Source, line: Line, accepts: Collection[str]) -> Diagnostic:
    """A line that ends in an operator although something new begins in the next."""
    span = source.span(line.last_end - len(line.last), line.last_end)
    wanted = expected(accepts) or ("more" if line.last == "," else "an expression")
    hint = f"write it, or remove the `{line.last}`"
    return syntax(f"expected {wanted} after `{line.last}`", span, hint)


def _ends_early(here: Here) -> Diagnostic:
    """A line, a pair of braces or a file that ends inside a statement."""
    source, line, accepts = here.source, here.line, here.accepts
    if line.enclosing is not None:
        return _unclosed_bracket(source, line.enclosing)
    span = source.span(line.before_end - len(line.before), line.before_end)
    hint = _instead(accepts)
    if set(accepts) == {"NAME"} and WORD.fullmatch(line.before):
        example = {"reset": "reset context", "input": "input ids(256)"}.get(
            line.before, f"{line.before} name"
        )
        is_example = line.before in ("reset", "input")
        hint = f"write `{example}`" if is_example else f"write its name after it, as in `{example}`"
    elif {*accepts} == {"EQUAL"}:
        hint = f"write what it is after it: `{here.statement} {line.before} = ...`"
    elif line.before == "chunk":
        hint = "write `chunk 16`"
    elif line.before == "repeat":
        hint = "write `repeat 2`"
    return syntax(f"expected {expected(accepts)} after {quote(line.before)}", span, hint)


def _in_brackets(
    source: Source, mistake: Mistake, line: Line, opening: int, accepts: Collection[str]
) -> Diagnostic | None:
    """A mistake that has to do with the bracket around it."""
    here = source.span(mistake.start, mistake.end)
    bracket = source.text[opening]
    closing = _CLOSING[bracket]
    if mistake.kind in ("RPAR", "RSQB") and mistake.text != closing:
        note = Note(f"this is the `{bracket}` that is open", source.span(opening, opening + 1))
        return syntax(f"expected `{closing}`, found `{mistake.text}`", here, f"write `{closing}`", (note,))
    if "COMMA" in accepts and mistake.kind in _BEGINS_OPERAND:
        span = source.span(line.before_end - len(line.before), mistake.end)
        hint = f"write `{unquoted(line.before)}, {unquoted(mistake.text)}`"
        return syntax("missing `,` between arguments", span, hint)
    return None


# --- braces --------------------------------------------------------------------------------------


def unclosed_braces(source: Source, offsets: Sequence[int], until: int) -> Diagnostic:
    """N0002 for one `{` or several, from the outermost, that should have been closed before `until`."""
    places = [source.span(offset, offset + 1) for offset in offsets]
    message = "this `{` is not closed" if len(places) == 1 else f"{len(places)} `{{` are not closed"
    notes = [Note("nor is this one", place) for place in places[1:]]
    before = "the end of the file"
    word = WORD.match(source.text, until)
    if word is not None:
        notes.append(Note("it should be closed before this", source.span(*word.span())))
        before = quote(word.group())
    hint = f"write the missing `{'}' * len(places)}` before {before}"
    return Diagnostic("N0002", message, places[0], hint, tuple(notes))


def comment_at(text: str, mistake: Mistake) -> tuple[int, int] | None:
    """From where to where a comment of another language goes that the mistake is part of, if any."""
    start = mistake.start
    if mistake.kind in ("SLASH", "STAR"):
        for begin in (start - 1, start):
            if mistake.kind == "SLASH" and begin >= 0 and text.startswith("//", begin):
                return begin, line_end(text, begin)
            if begin >= 0 and text.startswith("/*", begin):
                return begin, _after(text, "*/", begin + 2)
    if begins_line(text, start):
        if text.startswith("-- ", start):
            return start, line_end(text, start)
        for quotes in ('"""', "'''"):
            if text.startswith(quotes, start):
                return start, _after(text, quotes, start + 3)
    return None


def _after(text: str, sign: str, start: int) -> int:
    found = text.find(sign, start)
    return found + len(sign) if found >= 0 else len(text)


def foreign_comment(source: Source, comment: tuple[int, int]) -> Diagnostic:
    """N0001 for a comment that begins as in other languages."""
    sign = _COMMENT_SIGN.match(source.text, comment[0])
    assert sign is not None
    message = f"{quote(sign.group())} begins no comment here"
    return syntax(message, source.span(*sign.span()), "comments begin with `#`")


def brace_on_next_line(source: Source, offset: int, owner: str) -> Diagnostic:
    """N0001 for a `{` that begins a line."""
    message = f"the opening `{{` stands on the line of its {owner}"
    return syntax(message, source.span(offset, offset + 1), "write `{` at the end of the line before")


def missing_brace(source: Source, start: int, end: int, owner: str) -> Diagnostic:
    """N0001 for a body or clauses without their `{`, or with a `:` from `start` to `end` in its place."""
    what = "body" if owner in DECLARATION_WORDS else "clauses"
    if start < end:
        message = (
            f"the {what} of the `{owner}` stands in `{{ }}`"
            if what == "body"
            else f"the clauses of the `{owner}` stand in `{{ }}`"
        )
    else:
        message = f"expected `{{` at the end of this line: it opens the {what} of the `{owner}`"
    return syntax(message, source.span(start, end), "write `{` here, and `}` after its last line")


def extra_brace(source: Source, start: int, end: int) -> Diagnostic:
    """N0001 for one or more `}` too many."""
    hint = "remove it, or write the `{` that it should close"
    return syntax("this `}` closes nothing", source.span(start, end), hint)


def second_on_line(here: Here) -> Diagnostic:
    """N0001 for something after the end of a statement, on its line."""
    mistake = here.mistake
    if mistake.kind == UNREADABLE:
        return foreign_operator(here) or unreadable(here)
    span = here.span(mistake.start, mistake.end)
    if mistake.kind == "COMMA":
        return syntax(
            "expected the end of the line, found `,`", span, "write what follows on a line of its own"
        )
    message = f"expected the end of the line, found {quote(mistake.text)}"
    return syntax(message, span, "write it on a line of its own")


def between_clauses(here: Here) -> Diagnostic:
    """N0001 for a `;` or `,` between clauses."""
    start = here.mistake.start
    span = here.span(start, start + 1)
    hint = "remove it: the next clause begins with its keyword"
    return syntax(f"{quote(span.text)} has no meaning between clauses", span, hint)


def skipped_colon(here: Here) -> Diagnostic:
    """N0001 for a `:` before a `{`."""
    span = here.span(here.mistake.start, here.mistake.start + 1)
    return syntax("`:` has no meaning here", span, "remove it")


# --- helpers -------------------------------------------------------------------------------------


def _unclosed_bracket(source: Source, offset: int) -> Diagnostic:
    sign = source.text[offset]
    brace = source.text.find("{", offset, line_end(source.text, offset))
    before = " before `{`" if brace > 0 else ""
    hint = f"write the missing `{_CLOSING[sign]}`{before}"
    return Diagnostic("N0002", f"this `{sign}` is not closed", source.span(offset, offset + 1), hint)
