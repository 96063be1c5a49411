"""The shapes of an optimizer's flows: constants, numbers, the weight's own, and other matrices.

A weight is a matrix `out × in`; one that is a vector counts as one row. See `graph/optimizer.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from nestdsl.vocabulary.shapes import CONSTANT, NUMBER, MatrixShape, Shape

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


def elementwise(shapes: Sequence[Shape]) -> Shape:
    """The shape of what is computed element by element; numbers go with everything."""
    others = sorted({shape for shape in shapes if shape not in _NUMBERS}, key=str)
    if len(others) > 1:
        raise ShapeError(
            f"computes element by element, and {_both(others)} differ",
            "`out` are a weight's rows, `in` its columns: `outer`, `transpose` and `matmul` change the shape",
        )
    if others:
        return others[0]
    return NUMBER if NUMBER in shapes else CONSTANT


def shape_of(function: str, shapes: Sequence[Shape]) -> Shape:
    """The shape of what a library function gives. Raises ShapeError."""
    match function, shapes:
        case _ if function in _REDUCTIONS:
            return NUMBER
        case "outer", (left, right):
            return MatrixShape(_matrix(left, function).rows, _same_columns(left, right))
        case "outer", (one,):
            rows = _matrix(one, function).rows
            return MatrixShape(rows, rows)
        case "transpose", (one,):
            own = _matrix(one, function)
            return MatrixShape(own.columns, own.rows)
        case "matmul", (left, right):
            first, second = (_matrix(operand, function) for operand in (left, right))
            if first.columns != second.rows:
                raise ShapeError(
                    f"multiplies matrices, and {_both((left, right))} do not fit one another",
                    "the columns of the first are the rows of the second: `outer(a, b)` is a bᵀ, "
                    "`matmul(transpose(a), b)` is aᵀ b",
                )
            return MatrixShape(first.rows, second.columns)
        case (("newton_schulz" | "normalize" | "rms_match"), (one,)):
            return _matrix(one, function)
        case _:
            return elementwise(shapes)


def _matrix(shape: Shape, function: str) -> MatrixShape:
    if not isinstance(shape, MatrixShape):
        raise ShapeError("takes a matrix, and this is a number", "give it a flow such as `grad`")
    return shape


def _same_columns(left: Shape, right: Shape) -> str:
    first, second = _matrix(left, "outer"), _matrix(right, "outer")
    if first.columns != second.columns:
        raise ShapeError(
            f"multiplies rows with rows, and those of {_both((left, right))} differ in length",
            "`outer(a, b)` is a bᵀ: both have as many columns",
        )
    return second.rows


def _both(shapes: Sequence[Shape]) -> str:
    return " and ".join(f"`{shape.written if isinstance(shape, MatrixShape) else shape}`" for shape in shapes)
