"""Elaborates the expressions of an optimizer: each part becomes a line with a shape and a period."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING

from nestdsl.graph.optimizer import CONSTANT, GradientMemory, Line, Operand
from nestdsl.library.signatures import LIBRARY, Function, Place, Value
from nestdsl.semantics.arguments import bind
from nestdsl.semantics.functions import without_flows
from nestdsl.semantics.optimizers.shapes import ShapeError, shape_of
from nestdsl.semantics.optimizers.wrong_calls import report_no_function, report_no_stage
from nestdsl.semantics.values import UNKNOWN, Arithmetic, Unknown, is_number
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.syntax.names import names_in

if TYPE_CHECKING:
    from nestdsl.semantics.optimizers.body import OptimizerBody

_ARITHMETIC = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "**": "power"}
_SIGNS = {name: sign for sign, name in _ARITHMETIC.items()}


@dataclass(frozen=True, slots=True)
class Flow:
    """What an expression is: the operand of later lines, its shape, and after how many updates it changes.

    `period` is 0 for what never changes. `value` is that of a constant, as far as it is known now;
    `memory` the moving average that it is the state of.
    """

    operand: Operand
    shape: str
    period: int = 1
    value: float | None = None
    memory: GradientMemory | None = None


Result = Flow | Unknown


def number(value: int | float) -> Flow:
    return Flow(value, CONSTANT, 0, float(value))


class OptimizerFlows:
    """The lines of one optimizer, in the order in which they can run."""

    def __init__(self, body: OptimizerBody) -> None:
        self.body = body
        self.diagnostics = body.diagnostics
        self.lines: list[Line] = []
        self._arithmetic = Arithmetic(body.diagnostics)
        self._names: dict[str, int] = {}
        self._known: dict[tuple[object, ...], Flow] = {}
        self._constants: dict[Operand, tuple[Operand, ...]] = {}

    def expression(self, expression: ast.Expression, place: str) -> Result:
        """The flow of an expression; its lines are named after `place`."""
        self.body.parameters.count_part(expression.span)
        match expression:
            case ast.Number(value, span):
                bounded = self._arithmetic.bounded(value, span)
                return UNKNOWN if isinstance(bounded, Unknown) else number(bounded)
            case ast.String() | ast.Boolean():
                self.diagnostics.report(
                    "N0104",
                    f"a flow of an optimizer is computed from numbers; {expression.span.text} is none",
                    expression.span,
                    "write a number, or the name of a flow or a parameter",
                )
                return UNKNOWN
            case ast.Name():
                return self.body.named(expression)
            case ast.Index():
                return self.body.element(expression)
            case ast.Unary(_, operand, span):
                return self._operation("negate", (self.expression(operand, place),), span, place)
            case ast.Binary(operator, left, right, span):
                operands = self.expression(left, place), self.expression(right, place)
                return self._operation(_ARITHMETIC[operator], operands, span, place)
            case ast.Call():
                return self._call(expression, (), place)
            case ast.Pipe(stages, _):
                result = self.expression(stages[0], place)
                for stage in stages[1:]:
                    result = self._stage(result, stage, place, stages[0].span)
                return result

    # --- pipes and calls -------------------------------------------------------------------

    def _stage(self, flow: Result, stage: ast.Expression, place: str, start: Span) -> Result:
        match stage:
            case ast.Name(_, span):
                return self._call(ast.Call(stage, (), span), (flow,), place)
            case ast.Call():
                return self._call(stage, (flow,), place)
        report_no_stage(self.body, stage, start)
        return UNKNOWN

    def _call(self, call: ast.Call, piped: tuple[Result, ...], place: str) -> Result:
        name = call.function.text
        if self.body.declares(name):
            return self._answer(call, piped, place)
        function = LIBRARY.functions.get(name)
        if function is None or function.is_custom or function.place is Place.MODEL:
            report_no_function(self.body, call, function)
            if function is None:
                self._visit_names(call, place)
            return UNKNOWN
        if not self._is_given_its_flows(function, call, len(piped), place):
            return UNKNOWN
        flows, rest = self._flows_of(function, call, piped, place)
        options = bind(rest, function.arguments, f"`{name}`", self.body.constant, self.diagnostics)
        if options is None or any(isinstance(flow, Unknown) for flow in flows):
            return UNKNOWN
        if name == "debias":
            return self._debias(flows[0], call.span, place)
        return self._operation(name, flows, call.span, place, tuple(options.items()))

    def _is_given_its_flows(self, function: Function, call: ast.Call, piped: int, place: str) -> bool:
        """Whether a call has as many flows as its function takes; what follows them are options."""
        given = piped + sum(argument.name is None for argument in call.arguments)
        most = function.flows + len(function.arguments) if function.flows else 2
        if (function.flows or 1) <= given <= most:
            return True
        wanted = (
            f"{function.flows} flow{'s' * (function.flows != 1)}" if function.flows else "one or two flows"
        )
        second = "1" if function.name == "clip" else "weight"
        examples = ["grad", second][min(piped, 1) : function.flows or 2]  # what is piped is the first flow
        example = f"{function.name}({', '.join(examples)})" if examples else function.name
        self.diagnostics.report(
            "N0103", f"`{function.name}` takes {wanted}; this is {given}", call.span, f"write `{example}`"
        )
        self._visit_names(call, place)
        return False

    def _flows_of(
        self, function: Function, call: ast.Call, piped: tuple[Result, ...], place: str
    ) -> tuple[tuple[Result, ...], ast.Call]:
        """The flows of a call, the piped one first, and the call that is left without them."""
        positional = [argument for argument in call.arguments if argument.name is None]
        wanted = len(positional) if function.flows is None else max(0, function.flows - len(piped))
        taken = positional[:wanted]
        flows = (*piped, *(self.expression(argument.value, place) for argument in taken))
        return flows, without_flows(call, len(taken))

    def _visit_names(self, call: ast.Call, place: str) -> None:
        """Follows what stands in a call that means nothing: a circle is a mistake of its own."""
        for name in names_in(call):
            if isinstance(name, ast.Name) and self.body.is_computed(name.text):
                self.expression(name, place)

    def _answer(self, call: ast.Call, piped: tuple[Result, ...], place: str) -> Result:
        """What a memory answers to keys: `m(grad)` or `grad -> m`."""
        given = [*piped, *(self.expression(argument.value, place) for argument in call.arguments)]
        state = self.body.state(call.function)
        if isinstance(state, Unknown) or any(isinstance(key, Unknown) for key in given):
            return UNKNOWN
        memory = state.memory
        if memory is None or memory.kind not in ("matrix", "associative") or len(given) != 1:
            self.diagnostics.report(
                "N0104",
                f"`{call.function.text}` answers no keys: only the memories `matrix` and `associative` do",
                call.span,
                f"write `{call.function.text}` alone to read what it remembers",
            )
            return UNKNOWN
        key = given[0]
        assert isinstance(key, Flow)
        if key.shape != memory.shape:
            self.diagnostics.report(
                "N0201",
                f"the keys of `{memory.name}` are rows of the shape of the weight; these are not",
                call.span,
                "read it with a flow such as `grad`",
            )
            return UNKNOWN
        return self.line(
            "answer", (state, key), key.shape if memory.kind == "associative" else "out × out", place
        )

    # --- lines -----------------------------------------------------------------------------

    def _operation(
        self,
        function: str,
        operands: Sequence[Result],
        span: Span,
        place: str,
        options: tuple[tuple[str, Value], ...] = (),
    ) -> Result:
        flows = [flow for flow in operands if isinstance(flow, Flow)]
        if len(flows) < len(operands):
            return UNKNOWN
        if any(self.is_network(flow, span) for flow in flows):
            return UNKNOWN
        try:
            shape = shape_of(function, [flow.shape for flow in flows])
        except ShapeError as error:
            sign = _SIGNS.get(function, function)
            self.diagnostics.report("N0201", f"`{sign}` {error}", span, error.hint)
            return UNKNOWN
        if all(isinstance(flow.operand, int | float) for flow in flows) and shape == CONSTANT:
            return self._folded(function, flows, span)
        if function == "divide" and flows[1].operand == 0:
            self.diagnostics.report("N0203", "division by zero", span, "the divisor must not be 0")
            return UNKNOWN
        if function == "newton_schulz" and not self.body.is_for_matrices(span):
            return UNKNOWN
        return self.line(function, flows, shape, place, options)

    def is_network(self, flow: Flow, span: Span) -> bool:
        """Reports a memory that has no value but what it answers."""
        if flow.memory is None or flow.memory.kind != "associative":
            return False
        name = flow.memory.name
        self.diagnostics.report(
            "N0104",
            f"`{name}` is a network, which has no value by itself",
            span,
            f"read it with keys: `{name}(grad)`",
        )
        return True

    def _folded(self, function: str, flows: Sequence[Flow], span: Span) -> Result:
        """A constant of numbers alone, computed now."""
        first = flows[0].operand
        assert isinstance(first, int | float)
        match function, flows:
            case "negate", _:
                value = self._arithmetic.negate(first, span)
            case _, (_, second) if function in _ARITHMETIC.values():
                operator = next(sign for sign, name in _ARITHMETIC.items() if name == function)
                value = self._arithmetic.binary(operator, first, second.operand, span)
            case _:
                fold = LIBRARY.functions[function].fold
                assert fold is not None, f"`{function}` works element by element, and has no `fold`"
                numbers = [flow.operand for flow in flows if isinstance(flow.operand, int | float)]
                value = self._arithmetic.call(fold, function, numbers, span)
        return UNKNOWN if isinstance(value, Unknown) else number(value)

    def line(
        self,
        function: str,
        flows: Sequence[Flow],
        shape: str,
        place: str,
        options: tuple[tuple[str, Value], ...] = (),
        period: int | None = None,
    ) -> Flow:
        """Adds a line, or finds the one that says the same."""
        operands = tuple(flow.operand for flow in flows)
        key = (function, operands, options)
        if key in self._known:
            return self._known[key]
        period = gcd(*(flow.period for flow in flows)) if period is None else period
        result = Flow(self._name(place), shape, period, self._value(function, flows))
        assert isinstance(result.operand, str)
        self.lines.append(Line(result.operand, function, operands, shape, period, options))
        self._known[key] = result
        if shape == CONSTANT:
            self._constants[result.operand] = operands
        return result

    def values(self) -> dict[Operand, float]:
        """The values of constants, as far as they are known now, by their names."""
        return {flow.operand: flow.value for flow in self._known.values() if flow.value is not None}

    def names_in(self, flow: Flow, known: Collection[str] = ()) -> list[str]:
        """The names that a constant is computed from, without those that lead only to `known` results."""
        found: dict[str, None] = {}
        waiting = [flow.operand]
        while waiting:
            operand = waiting.pop()
            if isinstance(operand, str) and operand not in found and operand not in known:
                found[operand] = None
                waiting += self._constants.get(operand, ())
        return list(found)

    def _name(self, place: str) -> str:
        count = self._names[place] = self._names.get(place, 0) + 1
        return f"{place}.{count}"

    @staticmethod
    def _value(function: str, flows: Sequence[Flow]) -> float | None:
        """What a constant will be, where its parts are known; the runtime computes it anew."""
        values = [flow.value for flow in flows]
        if any(value is None for value in values):
            return None
        try:
            match function, values:
                case "negate", (float() as one,):
                    return -one
                case "add", (float() as one, float() as two):
                    return one + two
                case "subtract", (float() as one, float() as two):
                    return one - two
                case "multiply", (float() as one, float() as two):
                    return one * two
                case "divide", (float() as one, float() as two):
                    return one / two
                case "power", (float() as one, float() as two):
                    result = one**two
                    return result if is_number(result) else None
                case _ if function in LIBRARY.functions:
                    fold = LIBRARY.functions[function].fold
                    return None if fold is None else float(fold(*values))
        except (ArithmeticError, ValueError):
            return None
        return None

    def _debias(self, flow: Result, span: Span, place: str) -> Result:
        if isinstance(flow, Unknown):
            return UNKNOWN
        memory = flow.memory
        if memory is None or memory.kind != "ema":
            self.diagnostics.report(
                "N0104",
                "`debias` takes a moving average, whose start at zero it makes up for",
                span,
                "declare it: `level m = ema(0.9) { learn grad }`, and write `debias(m)`",
            )
            return UNKNOWN
        (decay,) = (argument for name, argument in memory.arguments if name == "decay")
        options = (("memory", memory.name),)
        bias = self.line("bias", (Flow(decay, CONSTANT, 0),), CONSTANT, place, options, memory.period)
        return self.line("debias", (flow, bias), flow.shape, place)
