"""Elaborates expressions of flows: arithmetic, functions, pipes, reads and anonymous levels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nestdsl.diagnostics import Note
from nestdsl.graph.nodes import Operand, Operation, Read
from nestdsl.library.signatures import LIBRARY
from nestdsl.semantics.arguments import match_arguments
from nestdsl.semantics.functions import apply_function, as_call
from nestdsl.semantics.rewriting import as_pipe, is_flow, piped, text_of
from nestdsl.semantics.scope import ConstantName, FlowName, LevelName, Poisoned, Stage
from nestdsl.semantics.values import UNKNOWN, Arithmetic, Constant, Unknown, describe, is_number
from nestdsl.semantics.wrong_stages import report_no_level, report_no_stage, report_reversed
from nestdsl.source import Span
from nestdsl.syntax import ast

if TYPE_CHECKING:
    from nestdsl.semantics.bodies import Body

_ARITHMETIC = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "**": "power"}

Result = FlowName | Constant | Unknown


class FlowElaborator:
    """Turns the expressions of one place (a flow, a clause) into nodes.

    `place` is the id that the nodes and anonymous levels of this expression are named after.
    """

    def __init__(self, body: Body, place: str) -> None:
        self.body = body
        self.place = place
        self.graph = body.shared.graph
        self.diagnostics = body.shared.diagnostics
        self.arithmetic = Arithmetic(self.diagnostics)
        self._operations = 0
        self._anonymous: dict[str, int] = {}

    # --- expressions -----------------------------------------------------------------------

    def expression(self, expression: ast.Expression) -> Result:
        """A flow, a compile-time value, or UNKNOWN where a mistake is reported."""
        with self.body.shared.expression(expression.span):
            return self._expression(expression)

    def _expression(self, expression: ast.Expression) -> Result:
        match expression:
            case ast.Number(value, span):
                return self.arithmetic.bounded(value, span)
            case ast.String(value) | ast.Boolean(value):
                return value
            case ast.Name():
                return self._name(expression)
            case ast.Index():
                if self.element(expression) is not None:
                    self.diagnostics.report(
                        "N0104",
                        f"`{expression.span.text}` is a level, not a flow",
                        expression.span,
                        f"write `{as_pipe(f'in -> {text_of(expression.span)}', expression.span)}`",
                    )
                return UNKNOWN
            case ast.Unary(_, operand, span):
                value = self.expression(operand)
                if isinstance(value, FlowName):
                    return self.operation("negate", (value.id,), span)
                return self.arithmetic.negate(value, span)
            case ast.Binary(operator, left, right, span):
                return self._binary(operator, self.expression(left), self.expression(right), span)
            case ast.Call():
                return self._call(expression)
            case ast.Pipe(stages, _):
                if report_reversed(self.body, stages):
                    return UNKNOWN
                value = self.expression(stages[0])
                for position, stage in enumerate(stages[1:], 1):
                    # After a mistake the pipe goes on with an unknown flow, to find the next one.
                    before = stages[0].span.to(stages[position - 1].span)
                    value = self._stage(
                        self.body.unknown_flow() if value is UNKNOWN else value, stage, before
                    )
                return value

    def flow(self, expression: ast.Expression, what: str) -> str | None:
        """The node of an expression that must be a flow; a number becomes a constant flow."""
        return self.as_flow(self.expression(expression), expression.span, what)

    def as_flow(self, value: Result, span: Span, what: str) -> str | None:
        if isinstance(value, FlowName):
            return value.id
        if isinstance(value, int | float) and not isinstance(value, bool):
            constant = self.operation("constant", (value,), span)
            return constant.id if isinstance(constant, FlowName) else None
        if value is not UNKNOWN:
            self.diagnostics.report(
                "N0104", f"{what} is a flow, not {describe(value)}", span, "name a flow, such as `in`"
            )
        return None

    def _name(self, name: ast.Name) -> Result:
        meaning = self.body.meaning(name.text)
        match meaning:
            case FlowName():
                return meaning
            case ConstantName(value):
                return value
            case Poisoned():
                return UNKNOWN
            case LevelName():
                self.diagnostics.report(
                    "N0104",
                    f"`{name.text}` is a level, not a flow",
                    name.span,
                    f"write `{as_pipe(f'in -> {name.text}', name.span)}` or `{name.text}(in)`",
                )
                return UNKNOWN
        thing = self.body.describe_name(name.text)
        if thing:
            function = LIBRARY.functions.get(name.text) if thing == "a function" else None
            written = as_pipe(f"in -> {name.text}", name.span)
            if function is not None and function.flows == 0:
                written = as_call(function)
            self.diagnostics.report(
                "N0104",
                f"`{name.text}` is {thing}, not a flow",
                name.span,
                f"write `{written}`",
            )
            return UNKNOWN
        return self.body.unknown_name(name)

    def _binary(self, operator: str, left: Result, right: Result, span: Span) -> Result:
        if left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        if not isinstance(left, FlowName) and not isinstance(right, FlowName):
            return self.arithmetic.binary(operator, left, right, span)
        operands: list[Operand] = []
        for value in (left, right):
            if isinstance(value, FlowName):
                operands.append(value.id)
            elif is_number(value):
                assert isinstance(value, int | float)
                operands.append(value)
            else:
                self.diagnostics.report(
                    "N0104",
                    f"`{operator}` computes with flows and numbers, not {describe(value)}",
                    span,
                    "name a flow or write a number",
                )
                return UNKNOWN
        return self.operation(_ARITHMETIC[operator], tuple(operands), span)

    def operation(
        self,
        function: str,
        operands: tuple[Operand, ...],
        span: Span,
        options: Sequence[tuple[str, int | float | bool | str | None]] = (),
    ) -> FlowName:
        self._operations += 1
        node = Operation(
            f"{self.place}#{self._operations}", self.body.scope.id, function, operands, tuple(options), span
        )
        self.body.shared.count_nodes(span)
        return FlowName(self.graph.add(node))

    # --- calls -----------------------------------------------------------------------------

    def _call(self, call: ast.Call) -> Result:
        name = call.function.text
        match self.body.meaning(name):
            case LevelName() as level:
                return self._read_call(level, call)
            case FlowName() | ConstantName():
                self.diagnostics.report(
                    "N0104",
                    f"`{name}` is not a function",
                    call.function.span,
                    "only levels, kinds, functions and blocks take arguments",
                )
                return UNKNOWN
            case Poisoned():
                return UNKNOWN
        if name == "parallel" and not self.body.is_declared(name):
            return self._parallel_call(call)
        function = LIBRARY.functions.get(name) if not self.body.is_declared(name) else None
        if function is not None:
            return apply_function(self, function, call, None)
        thing = self.body.describe_name(name)
        if thing:
            self.diagnostics.report(
                "N0104",
                f"`{name}` is {thing}: it makes a level, and reads nothing by itself",
                call.span,
                f"write `{as_pipe(self._piped(call), call.span)}`",
            )
            return UNKNOWN
        return self.body.unknown_name(call.function)

    def _read_call(self, level: LevelName, call: ast.Call) -> Result:
        if len(call.arguments) != 1 or call.arguments[0].name is not None:
            self.diagnostics.report(
                "N0103",
                f"`{call.function.text}` is a level: it is read with one flow",
                call.span,
                f"write `{call.function.text}({self._first_flow(call)})`",
            )
            return UNKNOWN
        flow = self.flow(call.arguments[0].value, "what a level reads")
        return UNKNOWN if flow is None else self._through(level, flow, call.span)

    def _parallel_call(self, call: ast.Call) -> Result:
        self.diagnostics.report(
            "N0104",
            "`parallel` is a stage: it needs a flow",
            call.span,
            f"write `{as_pipe(f'in -> {text_of(call.span)}', call.span)}`",
        )
        return UNKNOWN

    def _piped(self, call: ast.Call) -> str:
        return piped(call, self._is_flow, self.body.makes_levels)

    def _first_flow(self, call: ast.Call) -> str:
        given = (one.value for one in call.arguments if one.name is None and self._is_flow(one.value))
        first = next(given, None)
        return "in" if first is None else text_of(first.span)

    def _is_flow(self, expression: ast.Expression) -> bool:
        return is_flow(expression, lambda name: isinstance(self.body.meaning(name), FlowName))

    # --- pipes -----------------------------------------------------------------------------

    def _stage(self, value: Result, stage: ast.Expression, before: Span) -> Result:
        flow = self.as_flow(value, stage.span, "what is piped")
        if flow is None:
            return UNKNOWN
        match stage:
            case ast.Name(name, span) if isinstance(self.body.meaning(name), FlowName | ConstantName):
                report_no_level(self.body, name, before, span)
                return UNKNOWN
            case ast.Name(_, span):
                return self._stage_call(flow, ast.Call(stage, (), span), is_name=True)
            case ast.Index():
                stages = self.element(stage)
                return UNKNOWN if stages is None else self._chain(stages, flow, stage.span)
            case ast.Call():
                return self._stage_call(flow, stage, is_name=False)
            case ast.Number(_, span):
                self.diagnostics.report(
                    "N0104",
                    "a flow is piped into a level, kind, function or block, and not into a number",
                    span,
                    f"write `linear({span.text})`",
                )
                return UNKNOWN
            case _:
                report_no_stage(self.body, stage, before)
                return UNKNOWN

    def _stage_call(self, flow: str, call: ast.Call, is_name: bool) -> Result:
        name = call.function.text
        match self.body.meaning(name):
            case LevelName() as level if is_name:
                return self._through(level, flow, call.span)
            case LevelName():
                self.diagnostics.report(
                    "N0103",
                    f"`{name}` is a level: what is piped is all that it reads",
                    call.span,
                    f"write `{name}`",
                )
                return UNKNOWN
            case FlowName() | ConstantName() as meaning:
                thing = "a flow" if isinstance(meaning, FlowName) else "a value"
                self.diagnostics.report(
                    "N0104",
                    f"`{name}` is {thing}; a flow is piped into a level, kind, function or block",
                    call.span,
                    f"write `{name}` alone after `+` or `*`: a flow is not a function",
                )
                return UNKNOWN
            case Poisoned():
                return UNKNOWN
        if name == "parallel" and not self.body.is_declared(name):
            return self._parallel(flow, call)
        if not self.body.is_declared(name) and name in LIBRARY.functions:
            return apply_function(self, LIBRARY.functions[name], call, flow)
        if not self.body.makes_levels(name):
            thing = self.body.describe_name(name)
            if thing is None:
                return self.body.unknown_name(call.function, is_stage=True)
            self.diagnostics.report(
                "N0104",
                f"`{name}` is {thing}; a flow is piped into a level, kind, function or block",
                call.span,
                "optimizers stand in the clause `optimizer`, parameters in the arguments of a call",
            )
            return UNKNOWN
        stage = self.body.anonymous(call, self._anonymous_name(name))
        return UNKNOWN if stage is None else self._chain((stage,), flow, call.span)

    def _anonymous_name(self, kind: str) -> str:
        count = self._anonymous[kind] = self._anonymous.get(kind, 0) + 1
        local = self.place.removeprefix(self.body.prefix)
        return f"{local}.{kind}" if count == 1 else f"{local}.{kind}_{count}"

    def element(self, index: ast.Index) -> tuple[Stage, ...] | None:
        """The element of a level array."""
        meaning = self.body.meaning(index.name.text)
        match meaning:
            case LevelName(elements, True):
                value = self.body.constant(index.index)
                if value is UNKNOWN:
                    return None
                if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < len(elements):
                    self.diagnostics.report(
                        "N0203",
                        f"`{index.name.text}` has no element {describe(value)}",
                        index.index.span,
                        f"its elements are 0 to {len(elements) - 1}",
                    )
                    return None
                return elements[value]
            case Poisoned():
                return None
            case None:
                self.body.unknown_name(index.name)
                return None
            case FlowName():
                self.diagnostics.report(
                    "N0104",
                    f"`{index.name.text}` is a flow, and a flow has no elements",
                    index.span,
                    f"write `{index.name.text}`: only an array, `level name[3] = ...`, has elements",
                )
                return None
        self.diagnostics.report(
            "N0104",
            f"`{index.name.text}` is not an array of levels",
            index.span,
            f"write `{index.name.text}`: only an array, `level name[3] = ...`, has elements",
        )
        return None

    def _parallel(self, flow: str, call: ast.Call) -> Result:
        """All elements of an array on the same input, added [E74]."""
        matched = match_arguments(call, ("levels",), "`parallel`", self.diagnostics)
        argument = matched.get("levels")
        name = argument.value if argument else None
        meaning = self.body.meaning(name.text) if isinstance(name, ast.Name) else None
        if isinstance(meaning, Poisoned):
            return UNKNOWN
        if not isinstance(meaning, LevelName) or not meaning.is_array:
            self.diagnostics.report(
                "N0104",
                "`parallel` takes an array of levels",
                call.span,
                "declare `level memories[3] = ...` and write `-> parallel(memories)`",
            )
            return UNKNOWN
        result: Result = UNKNOWN
        for element in meaning.elements:
            output = self._chain(element, flow, call.span)
            result = output if result is UNKNOWN else self._binary("+", result, output, call.span)
        return result

    def _through(self, level: LevelName, flow: str, span: Span) -> Result:
        """Through all elements and copies of a level, in order [E70]."""
        return self._chain([stage for element in level.elements for stage in element], flow, span)

    def _chain(self, stages: Sequence[Stage], flow: str, span: Span) -> Result:
        for stage in stages:
            if stage.level is not None:
                self._operations += 1
                node = Read(f"{self.place}#{self._operations}", self.body.scope.id, stage.level, flow, span)
                flow = self.graph.add(node)
                self.body.shared.count_nodes(span)
                continue
            if stage.read_at is not None:
                self.diagnostics.report(
                    "N0104",
                    "a block, like attention, has flows of its own: it can be read in one place only",
                    span,
                    "declare a second level, or name its result with `flow` and use that",
                    (Note("it is read here first", stage.read_at),),
                )
                return UNKNOWN
            stage.read_at = span
            self.body.shared.feed(stage.entry, flow)
            flow = stage.exit
        return FlowName(flow)
