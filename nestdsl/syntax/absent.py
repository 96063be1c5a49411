"""What the language does not have, and what there is instead: conditions, lists, matrix products."""

from __future__ import annotations

import re

from nestdsl.diagnostics import Diagnostic
from nestdsl.syntax.lines import Place, line_end
from nestdsl.syntax.mistakes import UNREADABLE, WORD, Here, syntax

_CONDITIONS = frozenset(("if", "elif", "else", "then", "and", "or", "not", "is", "where", "when"))
_CHOICES = (
    "there are no conditions: `sign(x)` is -1, 0 or 1, `relu(x)` is x above 0, and in an optimizer "
    "`max`, `min` and `clip` choose between values"
)
_OPERAND = r"[A-Za-z_][\w.]*(?:\[\w+\])?"
_LIST = re.compile(rf"\[[ \t]*({_OPERAND}(?:[ \t]*,[ \t]*{_OPERAND})+)[ \t]*\]")


def condition(here: Here) -> Diagnostic | None:
    """`if x > 0 then 1 else -1`, `x and y`"""
    if here.statement not in ("flow", "param", "learn") or here.is_first:
        return None
    for word, start in ((here.line.before, here.before_start), (here.mistake.text, here.mistake.start)):
        if word in _CONDITIONS:
            return syntax(f"`{word}` has no meaning here", here.span(start, start + len(word)), _CHOICES)
    return None


def word_of_code(here: Here) -> Diagnostic | None:
    """`flow out = return x`"""
    if here.line.before not in ("return", "await", "new", "yield") or here.statement != "flow":
        return None
    return syntax(
        f"`{here.line.before}` has no meaning here",
        here.span(here.before_start, here.mistake.start),
        "remove it",
    )


def several_flows(here: Here) -> Diagnostic | None:
    """`flow a, b = x, y`"""
    if here.mistake.kind != "COMMA" or here.statement != "flow" or "EQUAL" not in here.accepts:
        return None
    span = here.span(here.mistake.start, here.mistake.end)
    return syntax("`flow` declares one flow", span, "declare each on a line of its own")


def function(here: Here) -> Diagnostic | None:
    """`lambda x: x`"""
    if here.line.before != "lambda":
        return None
    span = here.span(here.before_start, here.line.before_end)
    return syntax("a flow is no function", span, "a part of your own, with `in` and `out`, is a `block`")


def product(here: Here) -> Diagnostic | None:
    """`a @ b`"""
    if here.mistake.kind != UNREADABLE or here.text[here.mistake.start] != "@" or here.statement != "flow":
        return None
    line = here.text[: line_end(here.text, here.mistake.start)]
    begin = max(0, here.mistake.start - 200)  # no name is longer
    left = re.search(rf"{_OPERAND}$", here.text[begin : here.mistake.start].rstrip())
    right = re.compile(rf"@[ \t]*({_OPERAND})").match(line, here.mistake.start)
    span = here.span(here.mistake.start, here.mistake.start + 1)
    if here.owner != "optimizer" or left is None or right is None:
        hint = (
            "a level holds the matrix that a flow is multiplied by, `x -> linear`, or learns it, "
            "`level m = matrix { learn key -> value }`"
        )
        return syntax("flows are not multiplied as matrices", span, hint)
    # Of two alike only the transpose fits.
    second = f"{right[1]}.T" if right[1] == left.group() else right[1]
    factors = (re.sub(r"(.*)\.T$", r"transpose(\1)", one) for one in (left.group(), second))
    return syntax(
        "the matrix product is a function",
        here.span(begin + left.start(), right.end()),
        f"write `matmul({', '.join(factors)})`",
    )


def list_of_flows(here: Here) -> Diagnostic | None:
    """`[x, y]`"""
    if here.mistake.kind != "LSQB" or "NUMBER" not in here.accepts:
        return None
    found = _LIST.match(here.text, here.mistake.start)
    if found is None or here.owner == "optimizer" or here.statement != "flow":
        return syntax(
            "there are no lists",
            here.span(here.mistake.start, here.mistake.end),
            "several levels are an array, `level name[3] = kind`, and `concat(a, b)` puts flows side by side",
        )
    if here.line.before == "->":
        hint = "several levels that read the same are an array: `-> parallel(name)` adds their results"
        return syntax("there are no lists", here.span(*found.span()), hint)
    is_argument = here.text[: found.start()].rstrip().endswith("(")
    flows = found[1] if is_argument else f"concat({found[1]})"
    return syntax("there are no lists", here.span(*found.span()), f"write `{flows}`")


def named_input(here: Here) -> Diagnostic | None:
    """`input x = vectors(8)`, `input vectors(8) as x`"""
    if here.statement != "input" or here.place is not Place.BODY:
        return None
    if here.mistake.kind == "EQUAL" and WORD.fullmatch(here.line.before) and here.line.before != "input":
        span = here.span(here.before_start, here.mistake.end)
    elif here.mistake.text in ("as", "named"):
        span = here.span(here.mistake.start, max(here.mistake.end, here.line.last_end))
    else:
        return None
    return syntax("an input has no name of its own", span, "remove it: the input is read as `in`")
