"""The body of one optimizer while it is elaborated: what its names mean, and the lines that it has so far."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.optimizer import Operand, OptimizerProgram, Schedule
from nestdsl.semantics.constants import UNKNOWN, Constant, Unknown
from nestdsl.semantics.elaborate.optimizers.lines import Flow, Lines
from nestdsl.semantics.modules import Module
from nestdsl.semantics.names.optimizers import IN_SCOPE, declare_optimizer, meant, scope_of
from nestdsl.semantics.synonyms import PHRASES, name_meant
from nestdsl.semantics.values.arithmetic import fold, report_no_value
from nestdsl.semantics.values.parameters import FileParameters
from nestdsl.source import Span
from nestdsl.syntax import ast


@dataclass(frozen=True, slots=True)
class Otherwise:
    """The optimizer of all weights that are no matrices, with its arguments as flows of the outer one."""

    program: OptimizerProgram
    arguments: tuple[tuple[str, Operand], ...]


class OptimizerScope(ABC):
    """One optimizer with the values of its parameters; `places` are those of its arguments.

    `structural` are the parameters that an optimizer is built with, and which nothing can change later.
    """

    def __init__(
        self,
        module: Module,
        declaration: ast.Optimizer,
        values: Mapping[str, Constant | Unknown],
        schedules: tuple[Schedule, ...],
        parameters: FileParameters,
        diagnostics: Diagnostics,
        places: Mapping[str, Span],
    ) -> None:
        self.module = module
        self.declaration = declaration
        self.values = values
        self.schedules = {schedule.parameter: schedule for schedule in schedules}
        self.parameters = parameters
        self.diagnostics = diagnostics
        self.places = places
        self.declared = declare_optimizer(declaration, values, diagnostics)
        self.lines = Lines()
        self.index: int | None = None
        self.used: set[str] = set()
        self.structural: set[str] = set()
        self._structural_results: set[str] = set()
        self._misses_only = False

    @abstractmethod
    def named(self, name: ast.Name) -> Flow | Unknown:
        """What a name in a flow means."""

    @abstractmethod
    def element(self, index: ast.Index) -> Flow | Unknown:
        """`m[0]`: the state of one memory of an array."""

    @abstractmethod
    def state(self, name: ast.Name) -> Flow | Unknown:
        """The state of a memory, as later lines read it."""

    def declares(self, name: str) -> bool:
        """Whether a name is one of this body's, and so hides the library's."""
        is_statement = name in self.declared.levels or name in self.declared.flows
        return is_statement or name in self.values or name in IN_SCOPE

    def is_computed(self, name: str) -> bool:
        """Whether a name is a flow of this body, or a level that is read as one."""
        level = self.declared.levels.get(name)
        return name in self.declared.flows or (level is not None and level.count is None)

    def flow_at(self, span: Span) -> ast.Flow | None:
        """The `flow` statement that holds a place."""
        flows = self.declared.flows.values()
        return next((one for one in flows if one.span.start <= span.start and span.end <= one.span.end), None)

    def is_for_matrices(self, span: Span) -> bool:
        """Whether the body says `only matrices`; if not, reports the first function that needs it."""
        is_said = any(isinstance(one, ast.Only | ast.Broken) for one in self.declaration.body)
        if not is_said and not self._misses_only:
            self._misses_only = True
            self.diagnostics.report(
                "N0404",
                "only a matrix can be made orthogonal, and a model has vectors too, such as biases",
                span,
                "say what drives those: write `only matrices else adamw(lr = lr)` in this optimizer",
            )
        return is_said

    def unknown(self, name: ast.Name, others: Collection[str] = ()) -> Unknown:
        """Reports a name that means nothing here, and says why where that can be told.

        `others` are names that would mean something in its place.
        """
        text, declared = name.text, self.declared
        if text in declared.broken or declared.has_unnamed or text in self.module.broken:
            return UNKNOWN
        if text in ("in", "out"):
            self.diagnostics.report(
                "N0104",
                f"an optimizer has no `{text}`: it does not see activations, only gradients and weights",
                name.span,
                "compute with `grad`, `weight` and `step_count`",
            )
            return UNKNOWN
        known = [*IN_SCOPE, *self.values, *declared.levels, *declared.flows, *others]
        phrase = PHRASES.get(text, "") if text not in known else ""
        hint = name_meant(text, known) or phrase or meant(text, known, scope_of(self.values))
        self.diagnostics.report("N0101", f"unknown name `{text}`", name.span, hint)
        return UNKNOWN

    # --- constants -------------------------------------------------------------------------

    def constant(self, expression: ast.Expression) -> Constant | Unknown:
        """A value that is fixed when the optimizer is made; the parameters in it become structural."""
        return fold(expression, self._structural_name, self.diagnostics)

    def _structural_name(self, name: ast.Name) -> Constant | Unknown:
        if name.text == "index" and self.index is not None:
            return self.index
        if name.text in self.schedules:
            self.diagnostics.report(
                "N0405",
                f"`{name.text}` follows a schedule, and this is fixed when the optimizer is made",
                name.span,
                "give it a number",
            )
            return UNKNOWN
        if name.text in self.values:
            self.structural.add(name.text)
            self.used.add(name.text)
            return self.values[name.text]
        if self.declares(name.text):
            report_no_value(name, "not a compile-time constant", self.diagnostics)
            return UNKNOWN
        return self.parameters.lookup(self.module, name)

    def parameters_in(self, flow: Flow) -> list[str]:
        """The parameters, those with a value, that a constant is computed from, by name."""
        return self._with_value(self.lines.names_in(flow))

    def make_structural(self, flow: Flow) -> None:
        """Notes that the optimizer is built from the value of a constant, and so from its parameters."""
        new = self.lines.names_in(flow, self._structural_results)
        self._structural_results.update(new)
        self.structural.update(self._with_value(new))

    def _with_value(self, names: list[str]) -> list[str]:
        return sorted(name for name in names if not isinstance(self.values.get(name, UNKNOWN), Unknown))
