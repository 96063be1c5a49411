"""Habits in calls and headers: `linear 256`, `linear{8}`, `adamw(lr 1e-3)`, `linear x 3`."""

from __future__ import annotations

import re

from nestdsl.diagnostics import Diagnostic
from nestdsl.syntax.lines import CLAUSE_WORDS, STATEMENT_WORDS, Place
from nestdsl.syntax.mistakes import WORD, Here, syntax
from nestdsl.syntax.wording import quote

_WITHOUT_EQUAL = frozenset((*CLAUSE_WORDS, "input", "default", "train"))
_BRACKETS = re.compile(r"[<{\[][ \t]*([\w.]+(?:[ \t]*[=,][ \t]*[\w.]+)*)[ \t]*[>}\]]")
_COPIES = re.compile(r"(?:x|\*|times|by)[ \t]*([0-9]+|[A-Za-z_]\w*)(?:[ \t]+times)?")
_TWO_VALUES = re.compile(r"\b(\w+)s[ \t]*=[ \t]*[(\[][ \t]*([\w.]+)[ \t]*,[ \t]*([\w.]+)[ \t]*[)\]]")


def named_pair(here: Here) -> Diagnostic | None:
    """`adamw(lr 1e-3)`, `model m(dim 8)`"""
    if here.line.enclosing is None or here.mistake.kind != "NUMBER" or not WORD.fullmatch(here.line.before):
        return None
    name, value = here.line.before, here.mistake.text
    span = here.span(here.before_start, here.mistake.end)
    if here.place is Place.PROGRAM:
        return syntax("missing `=` between a parameter and its value", span, f"write `{name} = {value}`")
    message = f"missing `=` or `,` between `{name}` and `{value}`"
    return syntax(message, span, f"write `{name} = {value}` or `{name}, {value}`")


def point_first(here: Here) -> Diagnostic | None:
    """`.5`"""
    found = re.compile(r"\.[0-9]+(?:[eE][+-]?[0-9]+)?").match(here.text, here.mistake.start)
    if found is None or "NUMBER" not in here.accepts:
        return None
    message = f"expected an expression after {quote(here.line.before)}, found `.`"
    return syntax(
        message, here.span(*found.span()), f"write `0{found.group()}`: a number begins with a digit"
    )


def two_values(here: Here) -> Diagnostic | None:
    """`adamw(betas = (0.9, 0.999))`"""
    if here.line.enclosing is None:
        return None
    for found in _TWO_VALUES.finditer(here.text, max(0, here.mistake.start - 200), here.mistake.start + 200):
        if found.start() < here.mistake.start < found.end():
            hint = f"write `{found[1]}1 = {found[2]}, {found[1]}2 = {found[3]}`"
            return syntax("an argument has one value", here.span(*found.span()), hint)
    return None


def other_brackets(here: Here) -> Diagnostic | None:
    """`linear{8}`, `linear<8>`, `model m[dim = 8] {`"""
    opening = here.mistake.start
    if here.is_first and here.place is Place.CLAUSES and here.mistake.kind == "NUMBER":
        opening = here.brace
    found = _BRACKETS.match(here.text, max(0, opening))
    if found is None or not re.match(r"\w", here.text[max(0, opening - 1) : opening]):
        return None
    if here.statement not in ("block", "model", "optimizer", "level", "flow", "") and opening != here.brace:
        return None
    if opening != here.brace and here.line.before != "" and "LPAR" not in here.accepts:
        return None
    span = here.span(*found.span())
    return syntax("arguments stand in parentheses", span, f"write `({found[1]})`")


def count_of_array(here: Here) -> Diagnostic | None:
    """`level a(2) = linear`"""
    if here.mistake.kind != "LPAR" or here.statement != "level" or "LSQB" not in here.accepts:
        return None
    found = re.compile(r"\([ \t]*(\w+)[ \t]*\)").match(here.text, here.mistake.start)
    if found is None:
        return None
    hint = f"write `[{found[1]}]`"
    return syntax("how many levels there are stands in `[ ]`", here.span(*found.span()), hint)


def copies(here: Here) -> Diagnostic | None:
    """`level a = linear x 3`"""
    if here.statement != "level" or "REPEAT" not in here.accepts or here.line.enclosing is not None:
        return None
    found = _COPIES.match(here.text, here.mistake.start)
    if found is None:
        return None
    hint = f"write `repeat {found[1]}`"
    return syntax("copies in a row are written with `repeat`", here.span(*found.span()), hint)


def without_parentheses(here: Here) -> Diagnostic | None:
    """`linear 256`"""
    if here.line.enclosing is not None or not WORD.fullmatch(here.line.before):
        return None
    if "LPAR" not in here.accepts and not (here.mistake.kind == "NAME" and here.statement == "flow"):
        return None
    if here.mistake.kind not in ("NUMBER", "NAME", "STRING") or here.mistake.text in _WITHOUT_EQUAL:
        return None
    is_word = here.mistake.kind == "NAME"
    if is_word and not re.match(r"[ \t]*(?:$|[#\n}]|->)", here.text[here.mistake.end :]):
        return None  # more than a flow that a level or function reads
    if is_word and (
        here.mistake.text in STATEMENT_WORDS or here.statement in ("level", "optimizer", "objective", "only")
    ):
        return None
    following = here.text[here.mistake.end : here.mistake.end + 1]
    if here.line.before in _WITHOUT_EQUAL or here.line.before_end == here.mistake.start or following == "(":
        return None
    span = here.span(here.before_start, here.mistake.end)
    call = f"{here.line.before}({here.mistake.text})"
    begins_flow = here.statement == "flow" and here.text[: here.before_start].rstrip().endswith("=")
    if begins_flow and not is_word:
        call = f"in -> {call}"  # a number is no flow: this is a level or a function of one
    return syntax("arguments stand in parentheses", span, f"write `{call}`")
