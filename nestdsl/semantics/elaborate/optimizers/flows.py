"""Flows of optimizers: operations, reads of memories and their answers become lines of the program."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from nestdsl.semantics.constants import UNKNOWN, Constant, Unknown
from nestdsl.semantics.elaborate.expressions import FlowElaborator, Result, sign_of
from nestdsl.semantics.elaborate.optimizers.lines import Flow, number
from nestdsl.semantics.elaborate.optimizers.scope import OptimizerScope
from nestdsl.semantics.elaborate.optimizers.shapes import ShapeError, is_reduction, shape_of
from nestdsl.semantics.elaborate.optimizers.wrong_calls import report_no_function, report_no_stage
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.syntax.names import names_in
from nestdsl.vocabulary.gradient_memories import GRADIENT_MEMORIES
from nestdsl.vocabulary.shapes import CONSTANT
from nestdsl.vocabulary.signatures import LIBRARY, Function, Place, Value


class OptimizerFlows(FlowElaborator[Flow]):
    """Turns the expressions of one place of an optimizer into lines, which are named after that place."""

    example = "grad"

    def __init__(self, scope: OptimizerScope, place: str) -> None:
        super().__init__(scope.diagnostics)
        self.scope = scope
        self.place = place

    def flow(self, expression: ast.Expression) -> Flow | Unknown:
        """The flow of an expression."""
        return as_flow(self.expression(expression))

    # --- what is elaborated ----------------------------------------------------------------

    def inside(self, span: Span) -> AbstractContextManager[None]:
        self.scope.parameters.count_part(span)
        return nullcontext()

    def constant(self, expression: ast.Expression) -> Constant | Unknown:
        return self.scope.constant(expression)

    def literal(self, literal: ast.String | ast.Boolean) -> Unknown:
        self.diagnostics.report(
            "N0104",
            f"a flow of an optimizer is computed from numbers; {literal.span.text} is none",
            literal.span,
            "write a number, or the name of a flow or a parameter",
        )
        return UNKNOWN

    def name(self, name: ast.Name) -> Result[Flow]:
        return _number_or_flow(self.scope.named(name))

    def element(self, index: ast.Index) -> Result[Flow]:
        return _number_or_flow(self.scope.element(index))

    def folds(self, function: Function) -> bool:
        return not is_reduction(function.name)

    def operation(
        self,
        function: str,
        operands: Sequence[Flow | int | float],
        span: Span,
        options: tuple[tuple[str, Value], ...] = (),
    ) -> Flow | Unknown:
        flows = [operand if isinstance(operand, Flow) else number(operand) for operand in operands]
        if function == "debias":
            return self._debias(flows[0], span)
        if any(self.is_network(flow, span) for flow in flows):
            return UNKNOWN
        try:
            shape = shape_of(function, [flow.shape for flow in flows])
        except ShapeError as error:
            self.diagnostics.report("N0201", f"`{sign_of(function)}` {error}", span, error.hint)
            return UNKNOWN
        if function == "divide" and flows[1].operand == 0:
            self.diagnostics.report("N0203", "division by zero", span, "the divisor must not be 0")
            return UNKNOWN
        if function == "newton_schulz" and not self.scope.is_for_matrices(span):
            return UNKNOWN
        return self.scope.lines.line(function, flows, shape, self.place, options)

    def is_network(self, flow: Flow, span: Span) -> bool:
        """Reports a memory that has no value but what it answers."""
        if flow.memory is None or not flow.memory.declared.is_network:
            return False
        name = flow.memory.name
        self.diagnostics.report(
            "N0104",
            f"`{name}` is a network, which has no value by itself",
            span,
            f"read it with keys: `{name}(grad)`",
        )
        return True

    def _debias(self, flow: Flow, span: Span) -> Flow | Unknown:
        memory, lines = flow.memory, self.scope.lines
        if memory is None or not memory.declared.is_average:
            self.diagnostics.report(
                "N0104",
                "`debias` takes a moving average, whose start at zero it makes up for",
                span,
                "declare it: `level m = ema(0.9) { learn grad }`, and write `debias(m)`",
            )
            return UNKNOWN
        decay = Flow(dict(memory.arguments)["decay"], CONSTANT, 0)
        options = (("memory", memory.name),)
        bias = lines.line("bias", (decay,), CONSTANT, self.place, options, memory.period)
        return lines.line("debias", (flow, bias), flow.shape, self.place)

    # --- calls and pipes -------------------------------------------------------------------

    def answer(self, call: ast.Call, piped: Result[Flow] | None, before: Span) -> Result[Flow] | None:
        name = call.function.text
        if self.scope.declares(name):
            return self._answer_of_memory(call, piped)
        function = LIBRARY.functions.get(name)
        if function is None or function.is_custom or function.place is Place.MODEL:
            report_no_function(self.scope, call, function)
            if function is None:
                self._visit_names(call)
            return UNKNOWN
        return None

    def _answer_of_memory(self, call: ast.Call, piped: Result[Flow] | None) -> Flow | Unknown:
        """What a memory answers to keys: `m(grad)` or `grad -> m`."""
        given = [] if piped is None else [as_flow(piped)]
        given += [self.flow(argument.value) for argument in call.arguments]
        state = self.scope.state(call.function)
        keys = [key for key in given if isinstance(key, Flow)]
        if isinstance(state, Unknown) or len(keys) < len(given):
            return UNKNOWN
        memory = state.memory
        if memory is None or not memory.declared.answer or len(keys) != 1:
            answering = [f"`{kind.name}`" for kind in GRADIENT_MEMORIES if kind.answer]
            self.diagnostics.report(
                "N0104",
                f"`{call.function.text}` answers no keys: only the memories {' and '.join(answering)} do",
                call.span,
                f"write `{call.function.text}` alone to read what it remembers",
            )
            return UNKNOWN
        (key,) = keys
        if key.shape != memory.shape:
            self.diagnostics.report(
                "N0201",
                f"the keys of `{memory.name}` are rows of the shape of the weight; these are not",
                call.span,
                "read it with a flow such as `grad`",
            )
            return UNKNOWN
        return self.scope.lines.line("answer", (state, key), memory.declared.answer, self.place)

    def takes(self, function: Function, call: ast.Call, is_piped: bool) -> bool:
        """Whether a call has as many flows as its function takes; what follows them are options."""
        given = is_piped + sum(argument.name is None for argument in call.arguments)
        most = function.flows + len(function.arguments) if function.flows else 2
        if (function.flows or 1) <= given <= most:
            return True
        wanted = (
            f"{function.flows} flow{'s' * (function.flows != 1)}" if function.flows else "one or two flows"
        )
        second = "1" if function.name == "clip" else "weight"
        examples = ["grad", second][is_piped : function.flows or 2]  # what is piped is the first flow
        example = f"{function.name}({', '.join(examples)})" if examples else function.name
        self.diagnostics.report(
            "N0103", f"`{function.name}` takes {wanted}; this is {given}", call.span, f"write `{example}`"
        )
        self._visit_names(call)
        return False

    def no_stage(self, piped: Result[Flow], stage: ast.Expression, before: Span) -> Unknown:
        report_no_stage(self.scope, stage, before)
        return UNKNOWN

    def _visit_names(self, call: ast.Call) -> None:
        """Follows what stands in a call that means nothing: a circle is a mistake of its own."""
        for name in names_in(call):
            if isinstance(name, ast.Name) and self.scope.is_computed(name.text):
                self.expression(name)


def as_flow(value: Result[Flow]) -> Flow | Unknown:
    """The result of an expression as a flow; a number is one too."""
    assert not isinstance(value, bool | str), "no name and no literal of an optimizer is one"
    return number(value) if isinstance(value, int | float) else value


def _number_or_flow(flow: Flow | Unknown) -> Result[Flow]:
    if isinstance(flow, Flow) and isinstance(flow.operand, int | float):
        return flow.operand
    return flow
