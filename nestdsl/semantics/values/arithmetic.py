"""Arithmetic at compile time, and the values of expressions that need no flow."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nestdsl.diagnostics import Diagnostics
from nestdsl.limits import MAX_WHOLE
from nestdsl.semantics.constants import UNKNOWN, Constant, Unknown, describe, is_number
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import LIBRARY, Place

Lookup = Callable[[ast.Name], Constant | Unknown]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """Arithmetic on compile-time numbers that reports instead of raising.

    Whole numbers stay whole where the result is (`8 / 2` is 4); they are bounded by MAX_WHOLE,
    so that `9 ** 9 ** 9` ends at once.
    """

    diagnostics: Diagnostics

    def binary(self, operator: str, left: object, right: object, span: Span) -> int | float | Unknown:
        if left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        for value in (left, right):
            if not is_number(value):
                self.diagnostics.report(
                    "N0104",
                    f"`{operator}` computes with numbers; {describe(value)} is not one",
                    span,
                    "write a number or the name of a parameter that is one",
                )
                return UNKNOWN
        assert isinstance(left, int | float) and isinstance(right, int | float)
        try:
            return self.bounded(compute(operator, left, right), span)
        except ZeroDivisionError:
            self.diagnostics.report("N0203", "division by zero", span, "the divisor must not be 0")
        except OverflowError:
            self._too_large(span)
        except ValueError:
            self.diagnostics.report(
                "N0203",
                f"({describe(left)}) ** {describe(right)} is not a real number",
                span,
                "a negative number takes only whole powers",
            )
        return UNKNOWN

    def negate(self, operand: object, span: Span) -> int | float | Unknown:
        return self.binary("-", 0, operand, span)

    def call(
        self, function: Callable[..., float], name: str, values: Sequence[float], span: Span
    ) -> float | Unknown:
        """A function of numbers, such as `sqrt(64)`; whole where the result is."""
        try:
            result = function(*values)
        except OverflowError:
            self._too_large(span)
            return UNKNOWN
        except ValueError:
            self.diagnostics.report(
                "N0203",
                f"`{name}({', '.join(map(describe, values))})` is not a real number",
                span,
                "give it a larger number",
            )
            return UNKNOWN
        return self.bounded(int(result) if float(result).is_integer() else result, span)

    def bounded(self, value: int | float, span: Span | None) -> int | float | Unknown:
        """The value itself, unless it is too large to compute with."""
        if (isinstance(value, int) and abs(value) > MAX_WHOLE) or not math.isfinite(value):
            self._too_large(span)
            return UNKNOWN
        return value

    def _too_large(self, span: Span | None) -> None:
        self.diagnostics.report(
            "N0004",
            f"this number is too large: whole numbers go to {MAX_WHOLE:,}, others to 1e308",
            span,
            "use a smaller number",
        )


def compute(operator: str, left: int | float, right: int | float) -> int | float:
    """Raises ArithmeticError, or ValueError where the result is not a real number."""
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            exact = isinstance(left, int) and isinstance(right, int) and right != 0 and left % right == 0
            return left // right if exact else left / right
        case "**":
            return _power(left, right)
        case _:
            raise AssertionError(f"no operator {operator!r} in the grammar")


def _power(left: int | float, right: int | float) -> int | float:
    if isinstance(left, int) and isinstance(right, int) and right >= 0:
        # Judged before it is computed: the exact power could fill the memory.
        if abs(left) > 1 and right * math.log2(abs(left)) > 64:
            raise OverflowError
        return left**right
    result = float(left) ** right
    if isinstance(result, complex):
        raise ValueError
    return result


def fold(expression: ast.Expression, lookup: Lookup, diagnostics: Diagnostics) -> Constant | Unknown:
    """The value of an expression where only compile-time values may stand."""
    arithmetic = Arithmetic(diagnostics)
    match expression:
        case ast.Number(value, span):
            return arithmetic.bounded(value, span)
        case ast.String(value) | ast.Boolean(value):
            return value
        case ast.Name():
            return lookup(expression)
        case ast.Unary(_, operand, span):
            return arithmetic.negate(fold(operand, lookup, diagnostics), span)
        case ast.Binary(operator, left, right, span):
            return arithmetic.binary(
                operator, fold(left, lookup, diagnostics), fold(right, lookup, diagnostics), span
            )
        case ast.Call(ast.Name(name), (ast.Argument(None, argument),), span) if _folds(name):
            value = fold(argument, lookup, diagnostics)
            function = LIBRARY.functions[name].fold
            if is_number(value) and function is not None:
                assert isinstance(value, int | float)
                return arithmetic.call(function, name, (value,), span)
            if value is not UNKNOWN:
                diagnostics.report(
                    "N0104",
                    f"`{name}` takes a number here, not {describe(value)}",
                    span,
                    "write a number or the name of a parameter that is one",
                )
            return UNKNOWN
        case _:
            diagnostics.report(
                "N0104",
                "a compile-time value is needed here: a number, a parameter or arithmetic on them",
                expression.span,
                "flows and levels have no value until the model runs",
            )
            return UNKNOWN


def _folds(name: str) -> bool:
    """Whether a name is that of a function of one number and nothing else."""
    function = LIBRARY.functions.get(name)
    if function is None or function.fold is None or function.arguments:
        return False
    return function.place is not Place.OPTIMIZER


def report_no_value(name: ast.Name, what: str, diagnostics: Diagnostics) -> None:
    """Reports a name that means something else than a compile-time value."""
    hint = "a number, a parameter or arithmetic on them is needed here"
    diagnostics.report("N0104", f"`{name.text}` is {what}", name.span, hint)
