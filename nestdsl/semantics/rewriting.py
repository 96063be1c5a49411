"""Expressions as they should have been written: hints that take the place of what is underlined."""

from __future__ import annotations

import re
from collections.abc import Callable

from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.types import Function

_BLANKS = re.compile(r"\s+")
_AFTER = re.compile(r"[ \t]*(?:[),\n#}]|->|\Z)")
_BEFORE = re.compile(r"[=(,][ \t\n]*\Z")


def text_of(span: Span) -> str:
    """What stands there, on one line."""
    return _BLANKS.sub(" ", span.text)


def stands_alone(span: Span) -> bool:
    """Whether a pipe could stand there without parentheses: nothing is computed with it."""
    text = span.source.text
    return bool(_BEFORE.search(text[max(0, span.start - 200) : span.start]) and _AFTER.match(text, span.end))


def as_pipe(text: str, span: Span) -> str:
    """A pipe that takes the place of a span, in parentheses where it needs them."""
    return text if stands_alone(span) else f"({text})"


def as_sum(text: str, span: Span) -> str:
    """A sum or product that takes the place of a span, in parentheses where something binds tighter."""
    source = span.source.text
    before = source[max(0, span.start - 200) : span.start].rstrip()
    return f"({text})" if before.endswith(("*", "/", "-", "+")) and not before.endswith("->") else text


def is_flow(expression: ast.Expression, is_named: Callable[[str], bool]) -> bool:
    """Whether an expression is computed from flows, as far as names tell: `is_named` knows those of flows."""
    match expression:
        case ast.Name(text):
            return is_named(text)
        case ast.Unary(_, operand):
            return is_flow(operand, is_named)
        case ast.Binary(_, left, right):
            return is_flow(left, is_named) or is_flow(right, is_named)
        case ast.Call(_, arguments):
            return any(is_flow(argument.value, is_named) for argument in arguments)
        case ast.Pipe():
            return True
        case _:
            return False


def piped(
    call: ast.Call, is_flow: Callable[[ast.Expression], bool], makes_level: Callable[[str], bool]
) -> str:
    """`f(x, 8)` as `x -> f(8)`, and what x is in the same way; `in -> f(8)` if nothing given is a flow."""
    read = next((one for one in call.arguments if one.name is None and is_flow(one.value)), None)
    rest = ", ".join(text_of(one.span) for one in call.arguments if one is not read)
    stage = f"{call.function.text}({rest})" if rest else call.function.text
    match read.value if read else None:
        case None:
            source = "in"
        case ast.Call(function) as inner if makes_level(function.text):
            source = piped(inner, is_flow, makes_level)
        case value:
            source = text_of(value.span)
    return f"{source} -> {stage}"


def loosest(stage: ast.Expression, start: Span) -> tuple[ast.Expression, Span, str] | None:
    """For `a -> b + c`, where `+ c` was to be added to what the pipe gives: `b`, the place of `+ c`, and
    `(a -> b) + c` as it is to be written. None where the stage does not begin with something to pipe into."""
    first = stage
    while isinstance(first, ast.Binary):
        first = first.left
    if first is stage or not isinstance(first, ast.Name | ast.Call):
        return None
    source = stage.span.source
    rest = source.text[first.span.end : stage.span.end]
    begin = first.span.end + len(rest) - len(rest.lstrip())
    whole = source.text[start.start : first.span.end]
    written = f"({_BLANKS.sub(' ', whole)}) {_BLANKS.sub(' ', rest).strip()}"
    return first, Span(source, begin, stage.span.end), written


def as_call(function: Function) -> str:
    """`spread(first, last, size)`: a function that reads no flow, with the names of its arguments."""
    return f"{function.name}({', '.join(spec.name for spec in function.arguments)})"
