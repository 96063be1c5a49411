"""One instance of a block or model while it is elaborated: what its names mean and what is around it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from nestdsl.graph.nodes import Flow, Level, OptimizerUse, Scope
from nestdsl.semantics.constants import UNKNOWN, Constant, Unknown
from nestdsl.semantics.elaborate.optimizers.clause import OptimizerReader
from nestdsl.semantics.elaborate.shared import Shared
from nestdsl.semantics.modules import Module
from nestdsl.semantics.names.clauses import Clauses
from nestdsl.semantics.names.declared import Declared
from nestdsl.semantics.names.lookup import Names
from nestdsl.semantics.names.meanings import ConstantName, FlowName, LevelName, Meaning, Poisoned, Stage
from nestdsl.semantics.values.arithmetic import fold, report_no_value
from nestdsl.semantics.values.clauses import ClauseReader
from nestdsl.semantics.values.parameters import FileParameters
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.timing import Unit


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a level whose kind is a block says for the levels inside that say nothing."""

    period: tuple[int, Unit] | None = None
    optimizer: OptimizerUse | None = None
    frozen: Span | None = None
    """Where the block is said to be frozen."""
    gradient: str | None = None
    """Of the memories inside."""


@dataclass(frozen=True, slots=True)
class WaitingLevel:
    """A level of which no clause is read yet: `complete` does so, once all flows of the model are known."""

    scope: BodyScope
    level: Level
    clauses: Clauses
    index: int | None
    """Which element of an array it is."""
    part: str = ""
    """Which part of a whole it is, such as the `query` of attention."""


class BodyScope(Names, ABC):
    """One instance of a block or model. `Body` elaborates it; what it leaves for later goes to `waiting`.

    `around` are the blocks that it is inside of, `index` which element of an array is elaborated.
    """

    def __init__(
        self,
        shared: Shared,
        module: Module,
        parameters: FileParameters,
        scope: Scope,
        values: Mapping[str, Constant | Unknown],
        input_id: str,
        waiting: deque[WaitingLevel],
        inherited: Inherited | None = None,
        around: tuple[ast.Block, ...] = (),
    ) -> None:
        super().__init__(module, shared.diagnostics)
        self.shared = shared
        self.parameters = parameters
        self.scope = scope
        self.values = values
        self.waiting = waiting
        self.inherited = inherited or Inherited()
        self.around = around
        self.index: int | None = None
        self.prefix = f"{scope.id}." if scope.id else ""
        self.declared_prefix = f"{scope.declared}." if scope.declared else ""
        self.own = {name: ConstantName(value) for name, value in values.items()}
        self.own["in"] = FlowName(input_id)
        self.clause_reader = ClauseReader(
            shared.diagnostics, self.constant, lambda name: self.meaning(name) is not None
        )
        self.optimizers = OptimizerReader(module, parameters, self.constant, used=shared.instantiated)

    @abstractmethod
    def anonymous(self, call: ast.Call, local: str) -> Stage | None:
        """A level that a flow makes in its place, such as `in -> linear(64)`."""

    def declare(self, declared: Declared) -> None:
        """Gives the names of the body a meaning: its levels have no elements before they are elaborated."""
        for name, flow in declared.flows.items():
            self.own[name] = FlowName(self.prefix + name)
            self.shared.graph.add(Flow(self.prefix + name, self.scope.id, name, flow.span))
        for name in declared.levels:
            self.own[name] = LevelName((), False)
        for name in declared.broken:
            self.own.setdefault(name, Poisoned())

    def meaning(self, name: str) -> Meaning | None:
        """What a name means here: of this body, or a parameter of the file."""
        if name in self.own:
            return self.own[name]
        if name == "index" and self.index is not None:
            return ConstantName(self.index)
        found = self.find(name)
        if found and isinstance(found[1], ast.Param):
            return ConstantName(self.parameters.value(found[0], found[1]))
        if found is None and name in self.module.broken:
            return Poisoned()
        return None

    def constant(self, expression: ast.Expression) -> Constant | Unknown:
        """The value of an expression of parameters and numbers."""
        return fold(expression, self._constant_name, self.diagnostics)

    def _constant_name(self, name: ast.Name) -> Constant | Unknown:
        match self.meaning(name.text):
            case ConstantName(value):
                return value
            case FlowName() | LevelName():
                report_no_value(name, "not a compile-time constant", self.diagnostics)
                return UNKNOWN
            case Poisoned():
                return UNKNOWN
        thing = self.describe_name(name.text)
        if thing:
            report_no_value(name, f"{thing}, not a value", self.diagnostics)
            return UNKNOWN
        return self.unknown_name(name, is_value=True)

    def unknown_flow(self) -> FlowName:
        """A flow without source, which stands where a mistake was reported."""
        id = f"{self.prefix}?"
        if id not in self.shared.graph:
            self.shared.graph.add(Flow(id, self.scope.id, "?", self.scope.span))
        return FlowName(id)
