"""The shapes of what an optimizer computes with: numbers, the weight's own, and other matrices.

A weight is a matrix `out × in`; a vector counts as one row, and a stack of matrices as matrices side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.records import Text

_EXTENTS = ("out", "in", "1")


class Shape(Text):
    """The shape of a flow, of a memory's state, or of a result."""

    @classmethod
    def parse(cls, text: str) -> Shape:
        """`constant`, `number`, `weight` or `out × out`. Raises ValueError for any other text."""
        for shape in (CONSTANT, NUMBER, WEIGHT):
            if text == str(shape):
                return shape
        rows, _, columns = text.partition(" × ")
        shape = MatrixShape(rows, columns)
        if rows not in _EXTENTS or columns not in _EXTENTS or str(shape) != text:
            raise ValueError("no shape: `constant`, `number`, `weight` or `rows × columns`")
        return shape


@dataclass(frozen=True, slots=True)
class Scalar(Shape):
    """One number: for all weights and known before a step, or for each weight."""

    is_known: bool

    def __str__(self) -> str:
        return "constant" if self.is_known else "number"


@dataclass(frozen=True, slots=True)
class MatrixShape(Shape):
    """A matrix, its extents in terms of `out` and `in`, rows and columns of a weight, `1` and `hidden`."""

    rows: str
    columns: str

    def __str__(self) -> str:
        return "weight" if self == WEIGHT else self.written

    @property
    def written(self) -> str:
        """`out × in`."""
        return f"{self.rows} × {self.columns}"


CONSTANT = Scalar(is_known=True)
"""What is known before a step: made of parameters, numbers and counts alone."""
NUMBER = Scalar(is_known=False)
"""One number for each weight, such as a norm."""
WEIGHT = MatrixShape("out", "in")
"""The shape of the weight itself."""
SQUARE = MatrixShape("out", "out")
