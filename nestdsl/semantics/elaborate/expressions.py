"""Elaborates the expressions of flows, those of models and those of optimizers.

What is common to both stands here: arithmetic, functions of the library, pipes. What an operation becomes,
and what a name means, is for the two that this is made for: `elaborate/flows.py` makes nodes of a model's
graph, `optimizers/flows.py` lines of an optimizer's program.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Generic, TypeVar

from nestdsl.diagnostics import Diagnostics
from nestdsl.semantics.constants import UNKNOWN, Constant, Unknown, describe
from nestdsl.semantics.values.arguments import bind
from nestdsl.semantics.values.arithmetic import Arithmetic
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import LIBRARY, Function, Value

FlowT = TypeVar("FlowT")
Result = FlowT | Constant | Unknown
ARITHMETIC = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "**": "power"}
"""The operation of each operator; `-` of one operand is `negate`."""
_SIGNS = {name: sign for sign, name in ARITHMETIC.items()}


def sign_of(function: str) -> str:
    """The operator of an operation as programs write it; the name of a function."""
    return _SIGNS.get(function, function)


class FlowElaborator(ABC, Generic[FlowT]):
    """Elaborates the expressions of one place, such as a flow's value.

    The result of an expression is a flow, a compile-time value, or UNKNOWN where a mistake is reported.
    """

    example: str
    """A flow that each body has, for hints."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics
        self.arithmetic = Arithmetic(diagnostics)

    # --- what flows are elaborated to ------------------------------------------------------

    @abstractmethod
    def operation(
        self,
        function: str,
        operands: Sequence[FlowT | int | float],
        span: Span,
        options: tuple[tuple[str, Value], ...] = (),
    ) -> FlowT | Unknown:
        """What an operation on flows and numbers becomes."""

    @abstractmethod
    def constant(self, expression: ast.Expression) -> Constant | Unknown:
        """The value of an argument that must be known at compile time."""

    @abstractmethod
    def literal(self, literal: ast.String | ast.Boolean) -> Result[FlowT]:
        """A string or a truth in the place of a flow."""

    @abstractmethod
    def name(self, name: ast.Name) -> Result[FlowT]:
        """What a name means as a flow."""

    @abstractmethod
    def element(self, index: ast.Index) -> Result[FlowT]:
        """What `name[index]` means as a flow."""

    @abstractmethod
    def answer(self, call: ast.Call, piped: Result[FlowT] | None, before: Span) -> Result[FlowT] | None:
        """What a call of anything but a function gives; None if a function of the library is called.

        `piped` is the flow that is piped into it, `before` the place of what gives that.
        """

    @abstractmethod
    def takes(self, function: Function, call: ast.Call, is_piped: bool) -> bool:
        """Whether a call has as many flows as its function takes; reports it if not."""

    @abstractmethod
    def no_stage(self, piped: Result[FlowT], stage: ast.Expression, before: Span) -> FlowT | Unknown:
        """What a flow is piped into that is neither a name nor a call."""

    def inside(self, span: Span) -> AbstractContextManager[None]:
        """Entered for each expression, inside of those around it."""
        return nullcontext()

    def folds(self, function: Function) -> bool:
        """Whether a function of numbers alone is a number, known at compile time."""
        return function.fold is not None

    def piped(self, value: Result[FlowT], span: Span) -> Result[FlowT] | None:
        """What goes into the stage at `span`; None after a mistake that ends the pipe."""
        return value

    def is_reversed(self, stages: Sequence[ast.Expression]) -> bool:
        """Whether the stages of a pipe stand the wrong way round; reports it."""
        return False

    # --- expressions -----------------------------------------------------------------------

    def expression(self, expression: ast.Expression) -> Result[FlowT]:
        """A flow, a compile-time value, or UNKNOWN where a mistake is reported."""
        with self.inside(expression.span):
            match expression:
                case ast.Number(value, span):
                    return self.arithmetic.bounded(value, span)
                case ast.String() | ast.Boolean():
                    return self.literal(expression)
                case ast.Name():
                    return self.name(expression)
                case ast.Index():
                    return self.element(expression)
                case ast.Unary(_, operand, span):
                    return self.negated(self.expression(operand), span)
                case ast.Binary(operator, left, right, span):
                    return self.computed(operator, self.expression(left), self.expression(right), span)
                case ast.Call(_, _, span):
                    return self._call(expression, None, span)
                case ast.Pipe(stages, _):
                    return self._pipe(stages)

    def negated(self, operand: Result[FlowT], span: Span) -> Result[FlowT]:
        """`-operand`, computed now if it is a number."""
        if isinstance(operand, Unknown):
            return UNKNOWN
        if isinstance(operand, int | float | str):
            return self.arithmetic.negate(operand, span)
        return self.operation("negate", (operand,), span)

    def computed(
        self,
        operator: str,
        left: Result[FlowT],
        right: Result[FlowT],
        span: Span,
    ) -> Result[FlowT]:
        """`left operator right`, computed now if both are numbers."""
        if isinstance(left, Unknown) or isinstance(right, Unknown):
            return UNKNOWN
        if isinstance(left, int | float | str) and isinstance(right, int | float | str):
            return self.arithmetic.binary(operator, left, right, span)
        operands: list[FlowT | int | float] = []
        for value in (left, right):
            if isinstance(value, bool | str):
                self.diagnostics.report(
                    "N0104",
                    f"`{operator}` computes with flows and numbers, not {describe(value)}",
                    span,
                    "name a flow or write a number",
                )
                return UNKNOWN
            operands.append(value)
        return self.operation(ARITHMETIC[operator], operands, span)

    # --- functions -------------------------------------------------------------------------

    def _call(self, call: ast.Call, piped: Result[FlowT] | None, before: Span) -> Result[FlowT]:
        found = self.answer(call, piped, before)
        if found is not None:
            return found
        function = LIBRARY.functions[call.function.text]
        if not self.takes(function, call, piped is not None):
            return UNKNOWN
        operands, rest = self._operands(function, call, piped)
        bound = bind(rest, function.arguments, f"`{function.name}`", self.constant, self.diagnostics)
        if operands is None or bound is None:
            return UNKNOWN
        numbers = [operand for operand in operands if isinstance(operand, int | float)]
        if function.fold is not None and self.folds(function) and len(numbers) == len(operands):
            return self.arithmetic.call(partial(function.fold, **bound), function.name, numbers, call.span)
        return self.operation(function.name, operands, call.span, tuple(bound.items()))

    def _operands(
        self, function: Function, call: ast.Call, piped: Result[FlowT] | None
    ) -> tuple[list[FlowT | int | float] | None, ast.Call]:
        """The flows of a call, the piped one first, and the call that is left without them."""
        positional = [argument for argument in call.arguments if argument.name is None]
        wanted = len(positional) if function.flows is None else function.flows - (piped is not None)
        taken = positional[: max(0, wanted)]
        given = [] if piped is None else [(piped, call.span)]
        given += [(self.expression(argument.value), argument.span) for argument in taken]
        operands: list[FlowT | int | float] = []
        for value, span in given:
            if isinstance(value, bool | str):
                self.diagnostics.report(
                    "N0104",
                    f"`{function.name}` takes a flow, not {describe(value)}",
                    span,
                    f"write `{function.name}({self.example})` or `{self.example} -> {function.name}`",
                )
            elif not isinstance(value, Unknown):
                operands.append(value)
        rest = tuple(argument for argument in call.arguments if argument not in taken)
        whole = operands if len(operands) == len(given) else None
        return whole, ast.Call(call.function, rest, call.span)

    # --- pipes -----------------------------------------------------------------------------

    def _pipe(self, stages: Sequence[ast.Expression]) -> Result[FlowT]:
        if self.is_reversed(stages):
            return UNKNOWN
        value = self.expression(stages[0])
        for position, stage in enumerate(stages[1:], 1):
            value = self._stage(value, stage, stages[0].span.to(stages[position - 1].span))
        return value

    def _stage(self, value: Result[FlowT], stage: ast.Expression, before: Span) -> Result[FlowT]:
        piped = self.piped(value, stage.span)
        if piped is None:
            return UNKNOWN
        match stage:
            case ast.Name(_, span):
                return self._call(ast.Call(stage, (), span), piped, before)
            case ast.Call():
                return self._call(stage, piped, before)
        return self.no_stage(piped, stage, before)
