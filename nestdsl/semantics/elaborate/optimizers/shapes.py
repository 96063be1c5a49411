"""The shapes of an optimizer's flows: constants, numbers, the weight's own, and other matrices.

A weight is a matrix `out × in`; one that is a vector counts as one row. See `graph/optimizer.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from nestdsl.graph.optimizer import CONSTANT, NUMBER, WEIGHT

_NUMBERS = (CONSTANT, NUMBER)
_REDUCTIONS = frozenset({"norm", "rms", "mean", "trace", "rows", "columns"})


class ShapeError(Exception):
    """Shapes that do not fit one another; its text goes on from the name of the function."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def is_reduction(function: str) -> bool:
    """Whether a function makes one number of a matrix."""
    return function in _REDUCTIONS


def matrix(rows: str, columns: str) -> str:
    """The shape of a matrix of so many rows and columns."""
    return WEIGHT if (rows, columns) == ("out", "in") else f"{rows} × {columns}"


def extents(shape: str) -> tuple[str, str]:
    """Rows and columns of a shape that is no number."""
    if shape == WEIGHT:
        return "out", "in"
    rows, _, columns = shape.partition(" × ")
    return rows, columns


def elementwise(shapes: Sequence[str]) -> str:
    """The shape of what is computed element by element; numbers go with everything."""
    others = sorted({shape for shape in shapes if shape not in _NUMBERS})
    if len(others) > 1:
        raise ShapeError(
            f"computes element by element, and {_both(others)} differ",
            "`out` are a weight's rows, `in` its columns: `outer`, `transpose` and `matmul` change the shape",
        )
    if others:
        return others[0]
    return NUMBER if NUMBER in shapes else CONSTANT


def shape_of(function: str, shapes: Sequence[str]) -> str:
    """The shape of what a library function gives. Raises ShapeError."""
    match function, shapes:
        case _ if function in _REDUCTIONS:
            return NUMBER
        case "outer", (left, right):
            return matrix(_rows(left, function), _same_columns(left, right))
        case "outer", (one,):
            rows = _rows(one, function)
            return matrix(rows, rows)
        case "transpose", (one,):
            _rows(one, function)
            rows, columns = extents(one)
            return matrix(columns, rows)
        case "matmul", (left, right):
            for operand in (left, right):
                _rows(operand, function)
            (rows, inner), (other, columns) = extents(left), extents(right)
            if inner != other:
                raise ShapeError(
                    f"multiplies matrices, and {_both((left, right))} do not fit one another",
                    "the columns of the first are the rows of the second: `outer(a, b)` is a bᵀ, "
                    "`matmul(transpose(a), b)` is aᵀ b",
                )
            return matrix(rows, columns)
        case (("newton_schulz" | "normalize" | "rms_match"), (one,)):
            _rows(one, function)
            return one
        case _:
            return elementwise(shapes)


def _rows(shape: str, function: str) -> str:
    if shape in _NUMBERS:
        raise ShapeError("takes a matrix, and this is a number", "give it a flow such as `grad`")
    return extents(shape)[0]


def _same_columns(left: str, right: str) -> str:
    _rows(right, "outer")
    if extents(left)[1] != extents(right)[1]:
        raise ShapeError(
            f"multiplies rows with rows, and those of {_both((left, right))} differ in length",
            "`outer(a, b)` is a bᵀ: both have as many columns",
        )
    return extents(right)[0]


def _both(shapes: Sequence[str]) -> str:
    return " and ".join(f"`{'out × in' if shape == WEIGHT else shape}`" for shape in shapes)
