"""What happens at a mistake: one diagnostic, and a place from which reading goes on.

The usual case is the last function: the statement, clause or declaration that holds the mistake
becomes `Broken`, and reading goes on at the end of its line. The cases before it are mistakes
that say more than that, mostly braces; each leaves what was written right in the tree.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from nestdsl import limits
from nestdsl.diagnostics import Diagnostic
from nestdsl.syntax import foreign_words, messages
from nestdsl.syntax.ast import Program
from nestdsl.syntax.lines import (
    CLAUSE,
    CLAUSE_WORDS,
    DECLARATION,
    STATEMENT,
    Line,
    Place,
    after_blanks,
    begins_line,
    indentation,
    line_end,
    next_declaration,
    read_line,
)
from nestdsl.syntax.mistakes import END, UNREADABLE, Here, Mistake
from nestdsl.syntax.name_habits import annotation_of
from nestdsl.syntax.walk import Frame, Walk
from nestdsl.syntax.wording import nearest

_OWN_BRACES = {
    Place.PROGRAM: ("block", "optimizer", "model"),
    Place.BODY: ("level", "default", "train"),
    Place.CLAUSES: (),
}
_INSIDE = {Place.PROGRAM: STATEMENT, Place.BODY: CLAUSE}
_BESIDE = {Place.PROGRAM: DECLARATION, Place.BODY: STATEMENT}
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DECLARED = re.compile(r"[A-Za-z_]\w*[ \t]+([A-Za-z_]\w*)")
_CLOSING_BRACES = re.compile(r"\}(?:[ \t\r]*\})*")


def recover(walk: Walk, mistake: Mistake, found: list[Diagnostic]) -> None:
    """Reports the mistake and takes the walk to where it can go on."""
    frame = walk.frames[-1]
    if mistake.kind == "RBRACE" and walk.closes_outer(mistake.start) and "RBRACE" in walk.accepts():
        _close_brace(walk, mistake.start)
        return walk.go_on_at(mistake.start)
    first = after_blanks(walk.text, frame.start)
    at_start = mistake.rejected is None and mistake.start == first
    accepts = walk.accepts() - {"BROKEN"}
    if _comment(walk, mistake, found) or _skip(walk, mistake, found, accepts):
        return None
    complete = mistake.rejected is None and (at_start or bool(accepts & {"_NL", END}))
    if complete:
        if mistake.kind == END:
            return _close_at_end(walk, found)
        if _unclosed_braces(walk, mistake, found, at_start):
            return None
        if mistake.kind == "RBRACE" and frame.place is Place.PROGRAM:
            return _extra_braces(walk, mistake, found, at_start)
        if at_start and _misplaced(walk, mistake, found):
            return None
        if not at_start and _second_on_line(walk, mistake, found):
            return None
    is_colon = mistake.kind == UNREADABLE and walk.text[mistake.start] == ":"
    needs_brace = "LBRACE" in accepts and (
        is_colon or ("_NL" not in accepts and mistake.kind in ("_NL", END))
    )
    if needs_brace and _missing_brace(walk, mistake, found):
        return None
    if frame.place is Place.CLAUSES and mistake.kind == "LBRACE" and _optimizer_among_clauses(walk, found):
        return None
    return _break(walk, mistake, found, accepts)


def give_up(walk: Walk, mistake: Mistake, found: list[Diagnostic]) -> Program:
    """Ends the walk here, with what has been read so far, because there is too much of something."""
    here = walk.source.span(mistake.start, mistake.end)
    if walk.words > limits.MAX_WORDS:
        message = f"a file has at most {limits.MAX_WORDS:,} words and signs"
        found.append(Diagnostic("N0004", message, here, "split it into several files and `use` them"))
    else:
        message = f"more than {limits.MAX_DIAGNOSTICS} mistakes: reading stops here"
        found.append(Diagnostic("N0004", message, here, "correct those above first"))
    walk.back()
    while len(walk.frames) > 1:
        _close_brace(walk, mistake.start)
    return walk.finish()


# --- braces that are missing, or too many ------------------------------------------------------------


def _close_brace(walk: Walk, offset: int) -> None:
    """A `}` that the text does not have; what else was meant to stand before it, nobody knows."""
    # Where the text has no `{` either, its end is that of the indentation, and nothing is missing.
    if not (walk.frames[-1].is_assumed and "RBRACE" in walk.accepts()):
        if "BROKEN" not in walk.accepts():
            walk.feed("_NL", offset, offset)
        walk.feed("BROKEN", offset, offset)
    walk.feed("RBRACE", offset, offset)


def _close_at_end(walk: Walk, found: list[Diagnostic]) -> None:
    end = len(walk.text)
    _report_unclosed(walk, 1, end, found)
    while len(walk.frames) > 1:
        _close_brace(walk, end)


def _report_unclosed(walk: Walk, left: int, until: int, found: list[Diagnostic]) -> None:
    """Reports the braces that are open beyond `left`; one that the text does not have is reported already."""
    braces = [frame.brace for frame in walk.frames[left:] if not frame.is_assumed]
    if braces:
        found.append(messages.unclosed_braces(walk.source, braces, until))


def _unclosed_braces(walk: Walk, mistake: Mistake, found: list[Diagnostic], at_start: bool) -> bool:
    """A declaration in a body, or a statement among clauses: the braces around are not closed."""
    text, frame = walk.text, walk.frames[-1]
    if not at_start or not begins_line(text, mistake.start) or frame.place is Place.PROGRAM:
        return False
    # What is deeper than the braces was meant to be inside them: it is in the wrong place.
    depth = indentation(text, mistake.start)
    if DECLARATION.match(text, mistake.start) and depth <= indentation(text, walk.frames[1].brace):
        left = 1
    elif (
        frame.place is Place.CLAUSES
        and STATEMENT.match(text, mistake.start)
        and depth <= indentation(text, frame.brace)
    ):
        left = len(walk.frames) - 1
    else:
        return False
    _close_before(walk, mistake.start, left, found)
    return True


def _close_before(walk: Walk, offset: int, left: int, found: list[Diagnostic]) -> None:
    """Closes braces until `left` frames are open, and goes on with what begins at `offset`."""
    walk.back()
    _report_unclosed(walk, left, offset, found)
    while len(walk.frames) > left:
        _close_brace(walk, offset)
    walk.feed("_NL", offset, offset)
    walk.go_on_at(offset)


def _optimizer_among_clauses(walk: Walk, found: list[Diagnostic]) -> bool:
    """`optimizer name(...) {` reads as a clause up to its `{`: it was the next declaration."""
    start = walk.frames[-1].start
    if not begins_line(walk.text, start) or not DECLARATION.match(walk.text, start):
        return False
    if indentation(walk.text, start) > indentation(walk.text, walk.frames[1].brace):
        return False
    _close_before(walk, start, 1, found)
    return True


def _extra_braces(walk: Walk, mistake: Mistake, found: list[Diagnostic], at_start: bool) -> None:
    braces = _CLOSING_BRACES.match(walk.text, mistake.start)
    assert braces is not None
    found.append(messages.extra_brace(walk.source, *braces.span()))
    if at_start:
        walk.feed("BROKEN", *braces.span())
    walk.frames[-1].closed = True
    walk.go_on_at(braces.end())


def _missing_brace(walk: Walk, mistake: Mistake, found: list[Diagnostic]) -> bool:
    """A header whose `{` is on the next line, or forgotten."""
    text, frame = walk.text, walk.frames[-1]
    owner = _first_word(text, frame.start)
    following = after_blanks(text, mistake.start)
    if text.startswith("{", following):
        found.append(messages.brace_on_next_line(walk.source, following, owner))
        walk.go_on_at(following)
        return True
    is_colon = text.startswith(":", mistake.start)
    if is_colon:
        following = after_blanks(text, mistake.start + 1)
        if text.find("\n", mistake.start, following) < 0:
            return False  # something stands behind it on its line
    inside = _INSIDE.get(frame.place)
    if inside is None or not inside.match(text, following):
        return False
    start, end = mistake.start, mistake.start + is_colon
    found.append(messages.missing_brace(walk.source, start, end, owner))
    walk.feed("LBRACE", start, end)
    walk.frames[-1].is_assumed = True
    walk.go_on_at(end)
    return True


# --- things in the wrong place -----------------------------------------------------------------------


def _misplaced(walk: Walk, mistake: Mistake, found: list[Diagnostic]) -> bool:
    """Something that begins well, but not here; and what follows it for the same reason."""
    text, frame, start = walk.text, walk.frames[-1], mistake.start
    place = frame.place
    if mistake.kind == "LBRACE":
        if not begins_line(text, start):
            return False
        following = after_blanks(text, start + 1)
        same = _BESIDE.get(place)
        if same is None or same.match(text, following) or not text[: frame.start].strip():
            # Not the `{` of the line before: what follows belongs beside that, not inside it.
            line = Line(start, False, None, "", start, "", start, None)
            found.append(messages.explain(_here(walk, mistake, line, ())))
            walk.go_on_at(start + 1)
            return True
        owner = "level" if place is Place.BODY else "block"
        found.append(messages.brace_on_next_line(walk.source, start, owner))
        walk.feed("BROKEN", start, start)
        walk.go_on_at(start)
        return True
    if place is Place.PROGRAM and (STATEMENT.match(text, start) or CLAUSE.match(text, start)):
        # A `}` above has closed the body too early: all until the next declaration belongs to it.
        end = next_declaration(text, start)
    elif place is Place.BODY and CLAUSE.match(text, start):
        end = _end_of_clauses(text, start, frame)
    else:
        return False
    line = Line(end, False, None, "", start, "", start, None)
    found.append(messages.explain(_here(walk, mistake, line, ())))
    walk.feed("BROKEN", start, end)
    frame.closed = True
    walk.go_on_at(end)
    return True


def _end_of_clauses(text: str, start: int, frame: Frame) -> int:
    """The end of the clauses at `start` that stand in a body, with the `}` that ends them."""
    end = line_end(text, start)
    following = after_blanks(text, end)
    while CLAUSE.match(text, following):
        end = line_end(text, following)
        following = after_blanks(text, end)
    is_theirs = text.startswith("}", following) and begins_line(text, following)
    if is_theirs and indentation(text, following) > indentation(text, frame.brace):
        return following + 1
    return end


def _second_on_line(walk: Walk, mistake: Mistake, found: list[Diagnostic]) -> bool:
    """Something after the end of a statement, on its line."""
    text, frame, start = walk.text, walk.frames[-1], mistake.start
    opens = STATEMENT if frame.place is Place.BODY else DECLARATION
    if frame.place is not Place.CLAUSES and opens.match(text, start):
        # The third on a line is no second mistake.
        if begins_line(text, frame.start) or text[frame.start - 1] == "{":
            line = Line(start, False, None, "", start, "", start, None)
            found.append(messages.second_on_line(_here(walk, mistake, line, ())))
        walk.feed("_NL", start, start)
        walk.go_on_at(start)
        return True
    if not frame.closed:
        return False
    line = read_line(text, start, start, frame.place, frame.brace, opens=False, at_keyword=False)
    found.append(messages.second_on_line(_here(walk, mistake, line, ())))
    walk.go_on_at(max(line.end, start + 1))
    return True


# --- comments of other languages ---------------------------------------------------------------------


def _comment(walk: Walk, mistake: Mistake, found: list[Diagnostic]) -> bool:
    """A comment that begins with `//` or `/*`: reading goes on as if it were one."""
    text = walk.text
    comment = messages.comment_at(text, mistake)
    if comment is None or walk.in_brackets():
        return False  # brackets cannot be taken up again: the statement is broken off
    start, end = comment
    if start < mistake.start:
        walk.unread()  # the first `/` was read as a division
    found.append(messages.foreign_comment(walk.source, comment))
    walk.go_on_at(end if "_NL" in walk.accepts() else after_blanks(text, end))
    return True


# --- signs without which all is right ----------------------------------------------------------------


def _skip(walk: Walk, mistake: Mistake, found: list[Diagnostic], accepts: set[str]) -> bool:
    """A type, a `;` or a `:` that can be left out: reading goes on behind it."""
    start = mistake.start
    sign = walk.text[start : start + 1] if mistake.kind in (UNREADABLE, "COMMA") else ""
    if mistake.rejected is not None or after_blanks(walk.text, walk.frames[-1].start) == start:
        return False
    if sign == ":":
        return _skip_colon(walk, mistake, found, accepts)
    return sign in (";", ",") and "_NL" in accepts and _skip_separator(walk, mistake, found)


def _skip_colon(walk: Walk, mistake: Mistake, found: list[Diagnostic], accepts: set[str]) -> bool:
    text, start = walk.text, mistake.start
    following = after_blanks(text, start + 1)
    # The line may be long, and is not looked at: brackets are open where one could be closed.
    enclosing = start if "RPAR" in accepts else None
    here = _here(walk, mistake, Line(start, False, None, "", start, "", start, enclosing), accepts)
    if "LBRACE" in accepts and text.startswith("{", following):
        found.append(messages.skipped_colon(here))
        walk.go_on_at(following)
        return True
    annotation = annotation_of(here)
    if annotation is None or annotation.span is None:
        return False
    found.append(annotation)
    walk.go_on_at(annotation.span.end)
    return True


def _skip_separator(walk: Walk, mistake: Mistake, found: list[Diagnostic]) -> bool:
    """A `;` or `,` after a statement or clause that is whole."""
    text, frame, start = walk.text, walk.frames[-1], mistake.start
    following = after_blanks(text, start + 1)
    is_end = text.find("\n", start, following) >= 0 or text.startswith("}", following)
    here = _here(walk, mistake, Line(start, False, None, "", start, "", start, None), ())
    if frame.place is Place.CLAUSES:
        if not (is_end or CLAUSE.match(text, following)):
            return False
        found.append(messages.between_clauses(here))
        walk.go_on_at(start + 1)
        return True
    opens = STATEMENT if frame.place is Place.BODY else DECLARATION
    if not ((is_end and text[start] == ";") or opens.match(text, following)):
        return False
    if start > walk.separated_until:
        found.append(messages.second_on_line(here))
        walk.separated_until = line_end(text, start)
    if not is_end:
        walk.feed("_NL", start, start + 1)
    walk.go_on_at(start + 1)
    return True


# --- everything else ---------------------------------------------------------------------------------


def _break(walk: Walk, mistake: Mistake, found: list[Diagnostic], accepts: set[str]) -> None:
    """Puts BROKEN in the place of the present statement and goes on at the end of its line."""
    text, frame = walk.text, walk.frames[-1]
    start = after_blanks(text, frame.start)
    word = _first_word(text, frame.start)
    keyword = word if word in messages.WORDS[frame.place] else nearest(word, messages.WORDS[frame.place])
    line = read_line(
        text,
        frame.start if frame.place is not Place.CLAUSES else start,
        mistake.start,
        frame.place,
        frame.brace,
        opens=keyword in _OWN_BRACES[frame.place],
        at_keyword=mistake.kind.lower() in CLAUSE_WORDS,
    )
    found.append(messages.explain(_here(walk, mistake, line, accepts)))
    declared = _DECLARED.match(text, start)
    name = declared.group(1) if declared and frame.place is not Place.CLAUSES else ""
    if keyword is None and frame.place is Place.BODY:
        name = foreign_words.name_given(text, start) or name * (word not in foreign_words.NAMELESS)
    walk.back()
    walk.feed("BROKEN", start, max(start, line.last_end), name)
    walk.go_on_at(line.end)


def _first_word(text: str, start: int) -> str:
    word = _WORD.match(text, after_blanks(text, start))
    return word.group() if word else ""


def _here(walk: Walk, mistake: Mistake, line: Line, accepts: Collection[str]) -> Here:
    frame = walk.frames[-1]
    return Here(walk.source, mistake, line, frame.place, frame.start, accepts, frame.brace)
