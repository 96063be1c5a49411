"""The names in an expression."""

from __future__ import annotations

from collections.abc import Iterator

from nestdsl.syntax import ast


def names_in(expression: ast.Expression) -> Iterator[ast.Name | ast.Call]:
    """The names in an expression in their order, and its calls; a call before the names in its arguments."""
    waiting: list[ast.Expression] = [expression]
    while waiting:
        match waiting.pop():
            case ast.Name() as name:
                yield name
            case ast.Index(name, index):
                yield name
                waiting.append(index)
            case ast.Unary(_, operand):
                waiting.append(operand)
            case ast.Binary(_, left, right):
                waiting += [right, left]
            case ast.Pipe(stages):
                waiting += reversed(stages)
            case ast.Call(_, arguments) as call:
                yield call
                waiting += [argument.value for argument in reversed(arguments)]
            case _:
                pass
