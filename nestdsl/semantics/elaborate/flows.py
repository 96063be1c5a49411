"""Flows of models: operations, reads and levels that stand in a flow become nodes of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from nestdsl.diagnostics import Note
from nestdsl.graph.nodes import Operand, Operation, Read
from nestdsl.semantics.constants import UNKNOWN, Constant, Unknown, describe
from nestdsl.semantics.elaborate.arrays import position_in, report_no_array
from nestdsl.semantics.elaborate.expressions import ARITHMETIC, FlowElaborator
from nestdsl.semantics.elaborate.scope import BodyScope
from nestdsl.semantics.elaborate.wrong_stages import report_no_level, report_no_stage, report_reversed
from nestdsl.semantics.names.meanings import ConstantName, FlowName, LevelName, Poisoned, Stage
from nestdsl.semantics.rewriting import as_call, as_pipe, is_flow, piped, text_of
from nestdsl.semantics.values.arguments import match_arguments
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import LIBRARY, Function, Place, Value

Result = FlowName | Constant | Unknown
_WITH_NUMBERS = frozenset((*ARITHMETIC.values(), "negate"))
"""The operations whose node holds a number itself; others read a node that makes it."""


class ModelFlows(FlowElaborator[FlowName]):
    """Turns the expressions of one place (a flow, a clause) into nodes.

    `place` is the id that the nodes and anonymous levels of this expression are named after.
    """

    example = "in"

    def __init__(self, body: BodyScope, place: str) -> None:
        super().__init__(body.diagnostics)
        self.body = body
        self.place = place
        self.graph = body.shared.graph
        self._operations = 0
        self._anonymous: dict[str, int] = {}

    def flow(self, expression: ast.Expression, what: str) -> str | None:
        """The node of an expression that must be a flow; a number becomes a constant flow."""
        found = self._as_flow(self.expression(expression), expression.span, what)
        return None if found is None else found.id

    def _as_flow(self, value: Result, span: Span, what: str) -> FlowName | None:
        if isinstance(value, FlowName):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._node("constant", (value,), span)
        if not isinstance(value, Unknown):
            self.diagnostics.report(
                "N0104", f"{what} is a flow, not {describe(value)}", span, "name a flow, such as `in`"
            )
        return None

    # --- what is elaborated ----------------------------------------------------------------

    def inside(self, span: Span) -> AbstractContextManager[None]:
        return self.body.shared.expression(span)

    def operation(
        self,
        function: str,
        operands: Sequence[FlowName | int | float],
        span: Span,
        options: tuple[tuple[str, Value], ...] = (),
    ) -> FlowName:
        ids: list[Operand] = []
        for operand in operands:
            if not isinstance(operand, FlowName) and function not in _WITH_NUMBERS:
                operand = self._node("constant", (operand,), span)
            ids.append(operand.id if isinstance(operand, FlowName) else operand)
        return self._node(function, tuple(ids), span, options)

    def _node(
        self,
        function: str,
        operands: tuple[Operand, ...],
        span: Span,
        options: tuple[tuple[str, Value], ...] = (),
    ) -> FlowName:
        node = Operation(self._next_id(), self.body.scope.id, function, operands, options, span)
        self.body.shared.count_nodes(span)
        return FlowName(self.graph.add(node))

    def _next_id(self) -> str:
        self._operations += 1
        return f"{self.place}#{self._operations}"

    def constant(self, expression: ast.Expression) -> Constant | Unknown:
        return self.body.constant(expression)

    def literal(self, literal: ast.String | ast.Boolean) -> Constant:
        return literal.value

    def name(self, name: ast.Name) -> Result:
        match self.body.meaning(name.text):
            case FlowName() as flow:
                return flow
            case ConstantName(value):
                return value
            case Poisoned():
                return UNKNOWN
            case LevelName():
                self._report(
                    f"`{name.text}` is a level, not a flow",
                    name.span,
                    f"write `{as_pipe(f'in -> {name.text}', name.span)}` or `{name.text}(in)`",
                )
                return UNKNOWN
        thing = self.body.describe_name(name.text)
        if thing is None:
            return self.body.unknown_name(name)
        function = LIBRARY.functions.get(name.text) if thing == "a function" else None
        written = as_pipe(f"in -> {name.text}", name.span)
        if function is not None and function.flows == 0:
            written = as_call(function)
        self._report(f"`{name.text}` is {thing}, not a flow", name.span, f"write `{written}`")
        return UNKNOWN

    def element(self, index: ast.Index) -> Unknown:
        if self.level_of(index) is not None:
            written = as_pipe(f"in -> {text_of(index.span)}", index.span)
            self._report(f"`{index.span.text}` is a level, not a flow", index.span, f"write `{written}`")
        return UNKNOWN

    def level_of(self, index: ast.Index) -> tuple[Stage, ...] | None:
        """The element of a level array; None after a mistake."""
        name = index.name.text
        match self.body.meaning(name):
            case LevelName(elements, True):
                place = position_in(index, self.constant(index.index), len(elements), self.diagnostics)
                return None if place is None else elements[place]
            case Poisoned():
                return None
            case None:
                self.body.unknown_name(index.name)
                return None
            case FlowName():
                what = "a flow, and a flow has no elements"
            case _:
                what = "not an array of levels"
        report_no_array(index, what, self.diagnostics)
        return None

    # --- calls -----------------------------------------------------------------------------

    def answer(self, call: ast.Call, piped: Result | None, before: Span) -> Result | None:
        name = call.function.text
        meaning = self.body.meaning(name)
        if isinstance(meaning, Poisoned):
            return UNKNOWN
        if meaning is not None:
            if isinstance(piped, FlowName):
                return self._through_name(meaning, call, piped, before)
            return self._called_name(meaning, call)
        if not self.body.is_declared(name):
            if name == "parallel":
                return self._parallel(call, piped)
            function = LIBRARY.functions.get(name)
            if function is not None and function.place is Place.OPTIMIZER:
                self._report(f"`{name}` stands only in an optimizer", call.span, _instead(name))
                return UNKNOWN
            if function is not None:
                return None
        if isinstance(piped, FlowName) and self.body.makes_levels(name):
            stage = self.body.anonymous(call, self._anonymous_name(name))
            return UNKNOWN if stage is None else self._chain((stage,), piped, call.span)
        thing = self.body.describe_name(name)
        if thing is None:
            return self.body.unknown_name(call.function, is_stage=piped is not None)
        if piped is None:
            self._report(
                f"`{name}` is {thing}: it makes a level, and reads nothing by itself",
                call.span,
                f"write `{as_pipe(self._as_pipe(call), call.span)}`",
            )
        else:
            self._report(
                f"`{name}` is {thing}; a flow is piped into a level, kind, function or block",
                call.span,
                "optimizers stand in the clause `optimizer`, parameters in the arguments of a call",
            )
        return UNKNOWN

    def _called_name(self, meaning: FlowName | ConstantName | LevelName, call: ast.Call) -> Result:
        """`level(flow)`; other names of a body take no arguments."""
        name = call.function.text
        if not isinstance(meaning, LevelName):
            self._report(
                f"`{name}` is not a function",
                call.function.span,
                "only levels, kinds, functions and blocks take arguments",
            )
            return UNKNOWN
        if len(call.arguments) != 1 or call.arguments[0].name is not None:
            self.diagnostics.report(
                "N0103",
                f"`{name}` is a level: it is read with one flow",
                call.span,
                f"write `{name}({self._first_flow(call)})`",
            )
            return UNKNOWN
        value = self.expression(call.arguments[0].value)
        flow = self._as_flow(value, call.arguments[0].value.span, "what a level reads")
        return UNKNOWN if flow is None else self._through(meaning, flow, call.span)

    def _through_name(
        self, meaning: FlowName | ConstantName | LevelName, call: ast.Call, flow: FlowName, before: Span
    ) -> Result:
        """`flow -> level`; nothing is piped into other names of a body."""
        name = call.function.text
        is_name = call.span == call.function.span
        if isinstance(meaning, LevelName) and is_name:
            return self._through(meaning, flow, call.span)
        if isinstance(meaning, LevelName):
            self.diagnostics.report(
                "N0103",
                f"`{name}` is a level: what is piped is all that it reads",
                call.span,
                f"write `{name}`",
            )
        elif is_name:
            report_no_level(self.body, name, before, call.span)
        else:
            thing = "a flow" if isinstance(meaning, FlowName) else "a value"
            self._report(
                f"`{name}` is {thing}; a flow is piped into a level, kind, function or block",
                call.span,
                f"write `{name}` alone after `+` or `*`: a flow is not a function",
            )
        return UNKNOWN

    def takes(self, function: Function, call: ast.Call, is_piped: bool) -> bool:
        if function.flows == 0:
            if is_piped:
                numbers = text_of(call.span) if call.arguments else as_call(function)
                self._report(
                    f"`{function.name}` makes a flow of numbers, and reads none",
                    call.span,
                    f"write `flow numbers = {numbers}`, without what is piped",
                )
            return not is_piped
        if is_piped + sum(argument.name is None for argument in call.arguments) >= (function.flows or 1):
            return True
        self.diagnostics.report(
            "N0103",
            f"`{function.name}` needs a flow",
            call.span,
            f"write `in -> {function.name}` or `{function.name}(in)`",
        )
        return False

    def _anonymous_name(self, kind: str) -> str:
        count = self._anonymous[kind] = self._anonymous.get(kind, 0) + 1
        local = self.place.removeprefix(self.body.prefix)
        return f"{local}.{kind}" if count == 1 else f"{local}.{kind}_{count}"

    def _as_pipe(self, call: ast.Call) -> str:
        return piped(call, self._is_flow, self.body.makes_levels)

    def _first_flow(self, call: ast.Call) -> str:
        given = (one.value for one in call.arguments if one.name is None and self._is_flow(one.value))
        first = next(given, None)
        return "in" if first is None else text_of(first.span)

    def _is_flow(self, expression: ast.Expression) -> bool:
        return is_flow(expression, lambda name: isinstance(self.body.meaning(name), FlowName))

    def _report(self, message: str, span: Span, hint: str) -> None:
        self.diagnostics.report("N0104", message, span, hint)

    # --- pipes -----------------------------------------------------------------------------

    def is_reversed(self, stages: Sequence[ast.Expression]) -> bool:
        return report_reversed(self.body, stages)

    def piped(self, value: Result, span: Span) -> FlowName | None:
        # After a mistake the pipe goes on with an unknown flow, to find the next one.
        value = self.body.unknown_flow() if isinstance(value, Unknown) else value
        return self._as_flow(value, span, "what is piped")

    def no_stage(self, piped: Result, stage: ast.Expression, before: Span) -> FlowName | Unknown:
        assert isinstance(piped, FlowName)
        match stage:
            case ast.Index(_, _, span):
                stages = self.level_of(stage)
                return UNKNOWN if stages is None else self._chain(stages, piped, span)
            case ast.Number(_, span):
                self._report(
                    "a flow is piped into a level, kind, function or block, and not into a number",
                    span,
                    f"write `linear({span.text})`",
                )
            case _:
                report_no_stage(self.body, stage, before)
        return UNKNOWN

    def _parallel(self, call: ast.Call, piped: Result | None) -> Result:
        """All elements of an array on the same input, added [Nested Learning, Eq. 74]."""
        if not isinstance(piped, FlowName):
            self._report(
                "`parallel` is a stage: it needs a flow",
                call.span,
                f"write `{as_pipe(f'in -> {text_of(call.span)}', call.span)}`",
            )
            return UNKNOWN
        matched = match_arguments(call, ("levels",), "`parallel`", self.diagnostics)
        argument = matched.get("levels")
        name = argument.value if argument else None
        meaning = self.body.meaning(name.text) if isinstance(name, ast.Name) else None
        if isinstance(meaning, Poisoned):
            return UNKNOWN
        if not isinstance(meaning, LevelName) or not meaning.is_array:
            self._report(
                "`parallel` takes an array of levels",
                call.span,
                "declare `level memories[3] = ...` and write `-> parallel(memories)`",
            )
            return UNKNOWN
        total: Result = UNKNOWN
        for element in meaning.elements:
            output = self._chain(element, piped, call.span)
            total = output if isinstance(total, Unknown) else self.computed("+", total, output, call.span)
        return total

    def _through(self, level: LevelName, flow: FlowName, span: Span) -> FlowName | Unknown:
        """Through all elements and copies of a level, in order [Nested Learning, Eq. 70]."""
        return self._chain([stage for element in level.elements for stage in element], flow, span)

    def _chain(self, stages: Sequence[Stage], flow: FlowName, span: Span) -> FlowName | Unknown:
        for stage in stages:
            if stage.level is not None:
                node = Read(self._next_id(), self.body.scope.id, stage.level, flow.id, span)
                flow = FlowName(self.graph.add(node))
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
            self.body.shared.feed(stage.entry, flow.id)
            flow = FlowName(stage.exit)
        return flow


def _instead(name: str) -> str:
    """What a model's flows have instead of a function of optimizers."""
    if name == "normalize":
        return "did you mean `l2_normalize`?"
    return "the functions here are " + ", ".join(
        f"`{one.name}`" for one in LIBRARY.functions.values() if one.place is not Place.OPTIMIZER
    )
