"""The clause `optimizer`: which optimizer a call names, and what it becomes with its arguments.

A memory that learns `key -> value` in context is moved by the built-in optimizers of
`vocabulary/optimizers.py`. All other levels are moved by those written in the language: of the
program itself, or else of `std.optim`, which needs no `use`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from nestdsl.diagnostics import Diagnostic, Diagnostics, Note
from nestdsl.graph.nodes import OptimizerUse
from nestdsl.graph.optimizer import Operand, OptimizerProgram, Schedule
from nestdsl.limits import MAX_BLOCK_DEPTH, MAX_DIAGNOSTICS
from nestdsl.semantics.constants import UNKNOWN, Constant, Unknown
from nestdsl.semantics.elaborate.optimizers.body import OptimizerBody
from nestdsl.semantics.elaborate.optimizers.circles import report_left_in_a_circle
from nestdsl.semantics.elaborate.optimizers.climbing import is_never_negative
from nestdsl.semantics.elaborate.optimizers.flows import OptimizerFlows
from nestdsl.semantics.elaborate.optimizers.memories import REDUCE
from nestdsl.semantics.elaborate.optimizers.schedules import (
    is_schedule,
    read_schedule,
    report_no_schedule,
    written,
)
from nestdsl.semantics.elaborate.optimizers.scope import OptimizerScope, Otherwise
from nestdsl.semantics.modules import Module, library_module
from nestdsl.semantics.names.lookup import find_optimizer, optimizer_names, own_optimizer
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.semantics.values.arguments import bind, check_argument, gives_all, match_arguments
from nestdsl.semantics.values.arithmetic import fold
from nestdsl.semantics.values.parameters import FileParameters
from nestdsl.semantics.within_limits import LimitReachedError
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.shapes import CONSTANT
from nestdsl.vocabulary.signatures import LIBRARY, ArgumentSpec, OptimizerSignature, Type

Evaluate = Callable[[ast.Expression], object]
ElaborateFlow = Callable[[str, ast.Expression], object]

_OF_VALUES = ("N0104", "N0202", "N0203", "N0405")
"""Diagnostics that a given value can lead to, inside of an optimizer that is right with its defaults."""
_WORD = re.compile(r"[A-Za-z_]\w*")
_NAME = "adamw"


def default_optimizer(span: Span, parameters: FileParameters) -> OptimizerUse:
    """AdamW with its own defaults, where the model names no optimizer."""
    module = library_module("optim")
    reader = OptimizerReader(module, parameters, lambda expression: UNKNOWN)
    use = reader.across(ast.Call(ast.Name(_NAME, span), (), span))
    assert use is not None
    return use


def try_optimizer(
    declaration: ast.Optimizer, module: Module, parameters: FileParameters
) -> OptimizerProgram | None:
    """Elaborates an optimizer that nothing uses, with its defaults, to find its mistakes."""
    reader = OptimizerReader(module, parameters, lambda expression: UNKNOWN)
    given: dict[str, Constant | Unknown] = {}
    schedules = reader.default_schedules(module, declaration, given)
    values = parameters.of_declaration(module, declaration.parameters, given, is_trial=True)
    return reader.program(module, declaration, values, schedules)


@dataclass(frozen=True, slots=True)
class OptimizerReader:
    """Reads the optimizers that one body names; `evaluate` gives the compile-time values of that body."""

    module: Module
    parameters: FileParameters
    evaluate: Evaluate
    open: tuple[ast.Optimizer, ...] = ()
    used: set[int] = field(default_factory=set)
    """The identities of the declarations in use."""

    @property
    def diagnostics(self) -> Diagnostics:
        return self.parameters.diagnostics

    # --- in context ------------------------------------------------------------------------

    def in_context(self, call: ast.Call, flow: ElaborateFlow) -> OptimizerUse | None:
        """The optimizer of a memory that learns in context; `flow` elaborates arguments that may be flows."""
        signature = LIBRARY.optimizers.get(call.function.text)
        if signature is not None:
            return self._built_in(signature, call, flow)
        name = call.function.text
        if find_optimizer(self.module, name) is None:
            self._unknown(call.function, list(LIBRARY.optimizers))
            return None
        self.diagnostics.report(
            "N0404",
            f"`{name}` moves weights by gradients of the loss; it cannot drive a memory that learns "
            "`key -> value`",
            call.span,
            f"use one of {listed(LIBRARY.optimizers)}, whose `step` and `retain` may be flows",
        )
        return None

    def _built_in(
        self, signature: OptimizerSignature, call: ast.Call, flow: ElaborateFlow | None
    ) -> OptimizerUse | None:
        names = [spec.name for spec in signature.arguments]
        what = f"`{signature.name}`"
        matched = match_arguments(call, names, what, self.diagnostics)
        if len(matched) < len(call.arguments):
            return None
        given = tuple(matched)
        flows: list[tuple[str, str]] = []
        for name in signature.flow_arguments:
            if flow is None or name not in matched:
                continue
            value = flow(name, matched[name].value)
            if isinstance(value, str):
                flows.append((name, value))
                del matched[name]
            elif value is UNKNOWN:
                return None
        specs = [spec for spec in signature.arguments if spec.name not in dict(flows)]
        bound = bind(call, specs, what, self.evaluate, self.diagnostics, matched)
        if bound is None:
            return None
        # What is left off is not kept: plans and pages name only what is on.
        kept = tuple((name, value) for name, value in bound.items() if value is not False)
        return OptimizerUse(signature.name, kept, tuple(flows), call.span, None, given)

    # --- across ----------------------------------------------------------------------------

    def surprised(self, call: ast.Call, flow: ElaborateFlow | None = None) -> OptimizerUse | None:
        """The optimizer of a level that learns from surprise in context: `gd`, or one for weights."""
        if call.function.text == "gd" and own_optimizer(self.module, "gd") is None:
            return self._built_in(LIBRARY.optimizers["gd"], call, flow)
        return self.across(call)

    def across(self, call: ast.Call) -> OptimizerUse | None:
        """The optimizer of `train` or of a level that moves across sequences."""
        name = call.function.text
        found = find_optimizer(self.module, name)
        if found is None:
            if name in LIBRARY.optimizers:
                self.diagnostics.report(
                    "N0404",
                    f"`{name}` moves a memory while a sequence is read; it cannot drive weights",
                    call.span,
                    f"use one of {listed(optimizer_names(self.module))}",
                )
            else:
                self._unknown(call.function, optimizer_names(self.module))
            return None
        module, declaration = found
        bound = self._bind(call, module, declaration)
        if bound is None:
            return None
        given, schedules, reduce, matched = bound
        values = self.parameters.of_declaration(module, declaration.parameters, given)
        places = {name: argument.span for name, argument in matched.items()}
        program = self.program(module, declaration, values, schedules, places)
        if program is None:
            return None
        shown = dict(program.parameters) | {one.parameter: written(one) for one in schedules}
        if "reduce" not in shown:
            shown["reduce"] = reduce
        return OptimizerUse(name, tuple(shown.items()), (), call.span, program, tuple(matched))

    def program(
        self,
        module: Module,
        declaration: ast.Optimizer,
        values: dict[str, Constant | Unknown],
        schedules: tuple[Schedule, ...],
        places: Mapping[str, Span] | None = None,
    ) -> OptimizerProgram | None:
        """The program of a declaration with the values of its parameters, and where those are said."""
        self.used.add(id(declaration))
        key = (id(declaration), tuple((name, repr(value)) for name, value in values.items()), schedules)
        if key in self.parameters.programs:
            return self.parameters.programs[key]
        if len(self.open) >= MAX_BLOCK_DEPTH:
            self.diagnostics.report(
                "N0004",
                f"optimizers leave their rest to one another at most {MAX_BLOCK_DEPTH} times",
                declaration.name.span,
                "name an optimizer that drives every weight, such as `adamw(lr = lr)`",
            )
            raise LimitReachedError
        inner = OptimizerReader(module, self.parameters, self.evaluate, (*self.open, declaration), self.used)
        found, places = Diagnostics(most=MAX_DIAGNOSTICS), places or {}
        body = OptimizerBody(
            module, declaration, values, schedules, self.parameters, found, places, inner._otherwise
        )
        try:
            program = body.run()
        finally:
            self.diagnostics.extend(_at_its_argument(diagnostic, places) for diagnostic in found)
        if program is not None:
            self.parameters.programs[key] = program
        return program

    def default_schedules(
        self, module: Module, declaration: ast.Optimizer, given: dict[str, Constant | Unknown]
    ) -> tuple[Schedule, ...]:
        """The schedules among the defaults of parameters that are not `given`; their peaks become given."""
        found: list[Schedule] = []

        def evaluate(expression: ast.Expression) -> object:
            return fold(expression, lambda name: self.parameters.lookup(module, name), self.diagnostics)

        for parameter in declaration.parameters:
            name, default = parameter.name.text, parameter.default
            if name in given or default is None or not is_schedule(default):
                continue
            assert isinstance(default, ast.Call)
            schedule = read_schedule(name, default, evaluate, self.diagnostics)
            if schedule is not None and not self.fits(parameter, schedule.peak, default.span):
                schedule = None
            given[name] = UNKNOWN if schedule is None else schedule.peak
            found += [schedule] if schedule else []
        return tuple(found)

    def _bind(
        self, call: ast.Call, module: Module, declaration: ast.Optimizer
    ) -> tuple[dict[str, Constant | Unknown], tuple[Schedule, ...], str, dict[str, ast.Argument]] | None:
        """The values and schedules given in a call, and how gradients of several steps are taken together."""
        matched = self._match(call, declaration)
        if matched is None:
            return None
        reduce = (
            bind(
                ast.Call(call.function, tuple(a for n, a in matched.items() if n == "reduce"), call.span),
                (REDUCE,),
                f"`{declaration.name.text}`",
                self.evaluate,
                self.diagnostics,
            )
            if "reduce" not in _parameters(declaration)
            else {"reduce": "mean"}
        )
        given: dict[str, Constant | Unknown] = {}
        schedules: list[Schedule] = []
        is_whole = reduce is not None
        for parameter in declaration.parameters:
            argument = matched.get(parameter.name.text)
            if argument is None:
                continue
            name = parameter.name.text
            if is_schedule(argument.value):
                assert isinstance(argument.value, ast.Call)
                schedule = read_schedule(name, argument.value, self.evaluate, self.diagnostics)
                if schedule is not None and self.fits(parameter, schedule.peak, argument.span):
                    schedules.append(schedule)
                    given[name] = schedule.peak
                else:
                    is_whole = False
                continue
            if report_no_schedule(argument.value, self.diagnostics):
                is_whole = False
                continue
            value = self.evaluate(argument.value)
            if isinstance(value, Unknown) or not self.fits(parameter, value, argument.span):
                is_whole = False
            else:
                assert isinstance(value, int | float | bool | str)
                given[name] = value
        if not is_whole or reduce is None:
            return None
        schedules += self.default_schedules(module, declaration, given)
        return given, tuple(schedules), str(reduce["reduce"]), matched

    def _match(self, call: ast.Call, declaration: ast.Optimizer) -> dict[str, ast.Argument] | None:
        names = [*_parameters(declaration)]
        # It belongs to every optimizer, and none lists it: so it has no place among the others.
        is_over = sum(argument.name is None for argument in call.arguments) > len(names)
        names += [] if "reduce" in names or is_over else ["reduce"]
        what = f"`{declaration.name.text}`"
        if self._is_meant_for_the_library(call, names):
            return None
        matched = match_arguments(call, names, what, self.diagnostics)
        if len(matched) < len(call.arguments) or not gives_all(call, declaration, matched, self.diagnostics):
            return None
        return matched

    def _is_meant_for_the_library(self, call: ast.Call, names: list[str]) -> bool:
        """Reports an argument that the library's optimizer has, and one of the program hides."""
        name = call.function.text
        own, hidden = own_optimizer(self.module, name), library_module("optim").names.get(name)
        if own is None or not isinstance(hidden, ast.Optimizer) or own[1] is hidden:
            return False
        for argument in call.arguments:
            if argument.name is None or argument.name.text in names:
                continue
            if argument.name.text in _parameters(hidden):
                self.diagnostics.report(
                    "N0103",
                    f"the `{name}` of this program has no argument `{argument.name.text}`; "
                    "it hides that of `std.optim`, which has one",
                    argument.span,
                    "give your own another name, and both are there",
                    (Note(f"`{name}` is declared here", own[1].name.span),),
                )
                return True
        return False

    def fits(self, parameter: ast.Parameter, value: object, span: Span | None) -> bool:
        """Whether a value is of the type of a parameter's default, and not below what its name means."""
        name = parameter.name.text
        match parameter.default:
            case ast.Boolean():
                spec = ArgumentSpec(name, Type.BOOLEAN)
            case ast.String():
                spec = ArgumentSpec(name, Type.STRING)
            case _:
                least = 0.0 if is_never_negative(name) else None
                spec = ArgumentSpec(name, Type.NUMBER, minimum=least)
        return check_argument(spec, value, span, self.diagnostics)

    # --- the rest --------------------------------------------------------------------------

    def _otherwise(self, body: OptimizerScope, call: ast.Call) -> Otherwise | None:
        """What drives the weights that are no matrices, its arguments computed in the outer body."""
        found = find_optimizer(body.module, call.function.text)
        if found is None:
            self._unknown(call.function, optimizer_names(body.module))
            return None
        module, declaration = found
        if any(declaration is other for other in self.open):
            place = next(place for place, one in enumerate(self.open) if one is declaration)
            report_left_in_a_circle(self.open[place:], self.diagnostics)
            return None
        matched = self._match(call, declaration)
        if matched is None:
            return None
        given: dict[str, Constant | Unknown] = {}
        arguments: list[tuple[str, Operand]] = []
        for name, argument in matched.items():
            flow = OptimizerFlows(body, f"else.{name}").flow(argument.value)
            if isinstance(flow, Unknown):
                return None
            if flow.shape != CONSTANT:
                self.diagnostics.report(
                    "N0201", f"`{name}` is one number", argument.span, "write a number or a parameter"
                )
                return None
            given[name] = UNKNOWN if flow.value is None else flow.value
            arguments.append((name, flow.operand))
        schedules = self.default_schedules(module, declaration, given)
        values = self.parameters.of_declaration(module, declaration.parameters, given)
        places = {name: body.places.get(one.value.span.text, one.span) for name, one in matched.items()}
        program = self.program(module, declaration, values, schedules, places)
        return None if program is None else Otherwise(program, tuple(arguments))

    def _unknown(self, name: ast.Name, known: list[str]) -> None:
        if self.module.may_have(name.text):
            return
        self.diagnostics.report(
            "N0101",
            f"there is no optimizer `{name.text}`",
            name.span,
            did_you_mean(name.text, known, f"the optimizers are {listed(known)}"),
        )


def _at_its_argument(diagnostic: Diagnostic, places: Mapping[str, Span]) -> Diagnostic:
    """A mistake in the value of a parameter, told at the argument that gives it."""
    span = diagnostic.span
    if span is None or diagnostic.code not in _OF_VALUES:
        return diagnostic
    said = next((name for name in _WORD.findall(span.text) if name in places), None)
    if said is None or places[said] == span:
        return diagnostic
    notes = (Note(f"`{said}` is used here", span), *diagnostic.notes)
    return replace(diagnostic, span=places[said], notes=notes)


def _parameters(declaration: ast.Optimizer) -> tuple[str, ...]:
    return tuple(parameter.name.text for parameter in declaration.parameters)
