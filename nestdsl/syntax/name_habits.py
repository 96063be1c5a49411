"""Habits with names: types beside them, quotation marks, a `-` in them, parameters of flows."""

from __future__ import annotations

import re

from nestdsl.diagnostics import Diagnostic
from nestdsl.syntax.lines import line_end
from nestdsl.syntax.mistakes import UNREADABLE, WORD, Here, syntax

_TYPES = frozenset(
    (
        "int",
        "float",
        "bool",
        "str",
        "usize",
        "u32",
        "u64",
        "i32",
        "i64",
        "f32",
        "f64",
        "number",
        "string",
        "Tensor",
    )
)
_ANNOTATION = re.compile(r":[ \t]*([A-Za-z_][\w.\[\]]*)[ \t]*(?=[=,)])")
_DASHED = re.compile(r"[A-Za-z_]\w*(?:-[A-Za-z_]\w*)+")


def annotation_of(here: Here) -> Diagnostic | None:
    """`dim: int = 8`"""
    if here.mistake.kind != UNREADABLE or (
        here.line.enclosing is None and here.statement not in ("flow", "param")
    ):
        return None
    found = _ANNOTATION.match(here.text, here.mistake.start)
    if found is None or not (found[1] in _TYPES or here.text.startswith("=", found.end())):
        return None
    span = here.span(found.start(), found.start() + len(found.group().rstrip()))
    return syntax("nothing has a type here", span, "remove it: what a parameter is follows from its value")


def type_before_name(here: Here) -> Diagnostic | None:
    """`int dim = 8`"""
    if here.mistake.kind != "NAME" or here.line.before not in _TYPES or here.line.enclosing is None:
        return None
    span = here.span(here.before_start, here.mistake.start)
    return syntax("nothing has a type here", span, "remove it: what a parameter is follows from its value")


def dashed_name(here: Here) -> Diagnostic | None:
    """`flow my-flow = in`"""
    if here.mistake.text != "-" or not {"EQUAL", "LBRACE"} & {*here.accepts}:
        return None
    found = _DASHED.match(here.text, here.before_start)
    if found is None:
        return None
    hint = f"write `{found.group().replace('-', '_')}`"
    return syntax("`-` cannot stand in a name", here.span(*found.span()), hint)


def quoted_name(here: Here) -> Diagnostic | None:
    """`flow "out" = in`"""
    name = here.mistake.text[1:-1]
    if here.mistake.kind != "STRING" or "NAME" not in here.accepts or "STRING" in here.accepts:
        return None
    if not WORD.fullmatch(name):
        return None
    span = here.span(here.mistake.start, here.mistake.end)
    return syntax("a name stands without quotation marks", span, f"write `{name}`")


def parameters_of_flow(here: Here) -> Diagnostic | None:
    """`flow f(x) = x`"""
    if here.mistake.kind != "LPAR" or here.statement != "flow" or "EQUAL" not in here.accepts:
        return None
    closing = here.text.find(")", here.mistake.start, line_end(here.text, here.mistake.start))
    span = here.span(here.mistake.start, closing + 1 if closing > 0 else here.mistake.end)
    return syntax(
        "a flow takes no arguments", span, "remove it: a part that is used with several flows is a `block`"
    )
