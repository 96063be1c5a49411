"""Elaborates the body of one optimizer, with its parameters, to an `OptimizerProgram`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.optimizer import (
    CONSTANT,
    WEIGHT,
    GradientMemory,
    OptimizerProgram,
    Schedule,
)
from nestdsl.library.signatures import Value
from nestdsl.semantics.modules import Module
from nestdsl.semantics.optimizers.circles import report_needs_itself
from nestdsl.semantics.optimizers.climbing import report_direction
from nestdsl.semantics.optimizers.declared import (
    IN_SCOPE,
    Otherwise,
    count_of,
    declare,
    meant,
    report_no_update,
    report_shape,
    scope_of,
)
from nestdsl.semantics.optimizers.flows import Flow, OptimizerFlows, Result, number
from nestdsl.semantics.optimizers.memories import learned, read_memory
from nestdsl.semantics.optimizers.needed import learned_in, needed
from nestdsl.semantics.optimizers.schedules import quoted_schedule
from nestdsl.semantics.optimizers.unused import report_unused
from nestdsl.semantics.parameters import FileParameters
from nestdsl.semantics.synonyms import PHRASES, name_meant
from nestdsl.semantics.values import UNKNOWN, Constant, Unknown, fold
from nestdsl.source import Span
from nestdsl.syntax import ast


class OptimizerBody:
    """One optimizer with its parameters; `run` gives its program."""

    def __init__(
        self,
        module: Module,
        declaration: ast.Optimizer,
        values: Mapping[str, Constant | Unknown],
        schedules: tuple[Schedule, ...],
        parameters: FileParameters,
        diagnostics: Diagnostics,
        places: Mapping[str, Span],
        elaborate_otherwise: Callable[[OptimizerBody, ast.Call], Otherwise | None],
    ) -> None:
        self.module = module
        self.declaration = declaration
        self.values = values
        self.schedules = {schedule.parameter: schedule for schedule in schedules}
        self.parameters = parameters
        self.diagnostics = diagnostics
        self.flows = OptimizerFlows(self)
        self.places = places
        self._elaborate_otherwise = elaborate_otherwise
        self._declared = declare(declaration, values, diagnostics)
        self._flows, self.levels = self._declared.flows, self._declared.levels
        self._results: dict[str, Result] = {}
        self._memories: dict[str, GradientMemory] = {}
        self._open: list[tuple[str, Span]] = []
        self._used: set[str] = set()
        self.structural: set[str] = set()
        self._structural_results: set[str] = set()
        self._misses_only = False
        self._index: int | None = None

    def run(self) -> OptimizerProgram | None:
        """The program; None after a mistake, all of which are reported."""
        before = len(self.parameters.diagnostics)
        for name in [*self._flows, *self.levels]:
            if name in self.levels and self.levels[name].count is not None:
                for index in range(self._count(self.levels[name]) or 0):
                    self._memory(self.levels[name], index)
            elif name in self.levels:
                self._memory(self.levels[name], None)
            else:
                self._flow(self._flows[name].name)
        update = self._update()
        for name in list(self._memories):
            self._learn(name)
        otherwise = self._otherwise()
        if update is None or len(self.diagnostics) or len(self.parameters.diagnostics) > before:
            return None
        report_unused(self.declaration, self._flows, self.levels, self._used, self.diagnostics)
        arguments = otherwise.arguments if otherwise else ()
        lines = needed((update, *(value for _, value in arguments)), self._memories, self.flows.lines)
        has_learned = learned_in(lines)
        memories = tuple(memory for name, memory in self._memories.items() if name in has_learned)
        program = OptimizerProgram(
            name=self.declaration.name.text,
            parameters=tuple(
                (name, value) for name, value in self.values.items() if not isinstance(value, Unknown)
            ),
            memories=memories,
            lines=lines,
            update=update,
            schedules=tuple(self.schedules.values()),
            structural=tuple(sorted(self.structural)),
            otherwise=otherwise.program if otherwise else None,
            otherwise_arguments=arguments,
        )
        report_direction(program, self.flows.values(), self._flows["update"].span, self.diagnostics)
        return program

    # --- what it leaves to others ----------------------------------------------------------

    def _otherwise(self) -> Otherwise | None:
        only = self._declared.only
        return None if only is None else self._elaborate_otherwise(self, only.otherwise)

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

    # --- names -----------------------------------------------------------------------------

    def declares(self, name: str) -> bool:
        """Whether a name is one of this body's, and so hides the library's."""
        return name in self.levels or name in self._flows or name in self.values or name in IN_SCOPE

    def is_computed(self, name: str) -> bool:
        """Whether a name is a flow of this body, or a level that is read as one."""
        return name in self._flows or (name in self.levels and self.levels[name].count is None)

    @property
    def flow_names(self) -> Collection[str]:
        return self._flows

    def flow_at(self, span: Span) -> ast.Flow | None:
        """The `flow` statement that holds a place."""
        inside = (
            one for one in self._flows.values() if one.span.start <= span.start and span.end <= one.span.end
        )
        return next(inside, None)

    def constant(self, expression: ast.Expression) -> Constant | Unknown:
        """A value that is fixed when the optimizer is made; the parameters in it become structural."""
        return fold(expression, self._structural_name, self.diagnostics)

    def _structural_name(self, name: ast.Name) -> Constant | Unknown:
        if name.text == "index" and self._index is not None:
            return self._index
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
            self._used.add(name.text)
            return self.values[name.text]
        if self.declares(name.text):
            self.diagnostics.report(
                "N0104",
                f"`{name.text}` is no compile-time value",
                name.span,
                "a number, a parameter or arithmetic on them is needed here",
            )
            return UNKNOWN
        return self.parameters.lookup(self.module, name)

    def parameters_in(self, flow: Flow) -> list[str]:
        """The parameters, those with a value, that a constant is computed from, by name."""
        return self._with_value(self.flows.names_in(flow))

    def make_structural(self, flow: Flow) -> None:
        """Notes that the optimizer is built from the value of a constant, and so from its parameters."""
        new = self.flows.names_in(flow, self._structural_results)
        self._structural_results.update(new)
        self.structural.update(self._with_value(new))

    def _with_value(self, names: list[str]) -> list[str]:
        return sorted(name for name in names if not isinstance(self.values.get(name, UNKNOWN), Unknown))

    def named(self, name: ast.Name) -> Result:
        """What a name in a flow means."""
        text = name.text
        if text in IN_SCOPE:
            return Flow(text, IN_SCOPE[text])
        if text in self.values:
            return self._parameter(name)
        if text in self.levels:
            return self.state(name)
        if text in self._flows:
            self._used.add(text)
            return self._flow(name)
        if text == "index" and self._index is not None:
            return number(self._index)
        found = self.module.find(text)
        if found and isinstance(found[1], ast.Param):
            value = self.parameters.value(*found)  # type: ignore[arg-type]
            return UNKNOWN if isinstance(value, Unknown) else self._number_of(name, value)
        return self.unknown(name, ())

    def unknown(self, name: ast.Name, others: object) -> Unknown:
        """Reports a name that means nothing here, and says why where that can be told."""
        text = name.text
        if text in self._declared.broken or "" in self._declared.broken or text in self.module.broken:
            return UNKNOWN
        if text in ("in", "out"):
            self.diagnostics.report(
                "N0104",
                f"an optimizer has no `{text}`: it does not see activations, only gradients and weights",
                name.span,
                "compute with `grad`, `weight` and `step_count`",
            )
            return UNKNOWN
        known = [*IN_SCOPE, *self.values, *self.levels, *self._flows]
        known += [*others] if isinstance(others, list) else []
        phrase = PHRASES.get(text, "") if text not in known else ""
        hint = name_meant(text, known) or phrase or meant(text, known, scope_of(self.values))
        self.diagnostics.report("N0101", f"unknown name `{text}`", name.span, hint)
        return UNKNOWN

    def _parameter(self, name: ast.Name) -> Result:
        self._used.add(name.text)
        value = self.values[name.text]
        if name.text in self.schedules:
            return Flow(name.text, CONSTANT)
        if isinstance(value, Unknown):
            # Tried without its value, as a body that nobody uses is.
            return Flow(name.text, CONSTANT)
        found = self._number_of(name, value)
        if isinstance(found, Unknown):
            return UNKNOWN
        return Flow(name.text, CONSTANT, 1, found.value)

    def _number_of(self, name: ast.Name, value: Value) -> Result:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return number(value)
        schedule = quoted_schedule(value)
        hint = (
            f"give it `{schedule}`, without quotation marks"
            if schedule
            else "flows are computed from numbers"
        )
        self.diagnostics.report("N0104", f"`{name.text}` is no number", name.span, hint)
        return UNKNOWN

    def _flow(self, name: ast.Name) -> Result:
        text = name.text
        if text not in self._results:
            if self._is_open(name):
                return UNKNOWN
            self._open.append((text, name.span))
            self._results[text] = self.flows.expression(self._flows[text].value, text)
            self._open.pop()
        return self._results[text]

    def _is_open(self, name: ast.Name) -> bool:
        """Reports a name that needs itself."""
        names = [one for one, _ in self._open]
        if name.text not in names:
            return False
        report_needs_itself(name, names, self.levels, self.diagnostics)
        return True

    def element(self, index: ast.Index) -> Result:
        """`m[0]`: one memory of an array."""
        name = index.name.text
        level = self.levels.get(name)
        if level is None or level.count is None:
            if level is None and not self.declares(name):
                return self.unknown(index.name, ())
            self.diagnostics.report(
                "N0104",
                f"`{name}` is not an array of levels",
                index.span,
                f"write `{name}`: only an array, `level name[3] = ...`, has elements",
            )
            return UNKNOWN
        self._used.add(name)
        count, position = self._count(level), self.constant(index.index)
        if count is None or isinstance(position, Unknown):
            return UNKNOWN
        if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < count:
            self.diagnostics.report(
                "N0203",
                f"`{name}` has no element {position}",
                index.index.span,
                f"its elements are 0 to {count - 1}",
            )
            return UNKNOWN
        return self._state(level, position, index.span)

    def state(self, name: ast.Name) -> Result:
        """The state of a memory, as later lines read it."""
        level = self.levels.get(name.text)
        if level is None:
            self.diagnostics.report(
                "N0104",
                f"`{name.text}` is not a function",
                name.span,
                "only functions and the memories `matrix` and `associative` take arguments",
            )
            return UNKNOWN
        if level.count is not None:
            self.diagnostics.report(
                "N0104",
                f"`{name.text}` is an array: its elements have a state each",
                name.span,
                f"name one of them, such as `{name.text}[0]`",
            )
            return UNKNOWN
        self._used.add(name.text)
        return self._state(level, None, name.span)

    # --- memories --------------------------------------------------------------------------

    def _count(self, level: ast.Level) -> int | None:
        assert level.count is not None
        return count_of(level.count, self.constant(level.count), self.diagnostics)

    def _memory(self, level: ast.Level, index: int | None) -> GradientMemory | None:
        name = level.name.text if index is None else f"{level.name.text}[{index}]"
        if name in self._memories:
            return self._memories[name]
        if name in self._results and isinstance(self._results[name], Unknown):
            return None
        outer, self._index = self._index, index
        memory = read_memory(self, level, name)
        self._index = outer
        if memory is None:
            self._results[name] = UNKNOWN
        else:
            self._memories[name] = memory
        return memory

    def _state(self, level: ast.Level, index: int | None, span: Span) -> Result:
        memory = self._memory(level, index)
        if memory is None:
            return UNKNOWN
        if memory.name in self._results:
            return self._results[memory.name]
        state = Flow(memory.name, WEIGHT, memory.period, None, memory)
        if memory.read == "after":
            if self._is_open(ast.Name(memory.name, span)):
                return UNKNOWN
            learned = self._learn(memory.name)
            state = learned if isinstance(learned, Flow) and learned.memory is None else state
            if isinstance(learned, Unknown):
                return UNKNOWN
        self._results[memory.name] = state
        return state

    def _learn(self, name: str) -> Result:
        """Adds the line in which a memory learns; its state, or its input if it keeps nothing."""
        key = f"learn {name}"
        if key in self._results:
            return self._results[key]
        memory = self._memories[name]
        base, _, rest = name.partition("[")
        level = self.levels[base]
        outer, self._index = self._index, int(rest[:-1]) if rest else None
        self._open.append((name, level.span))
        self._results[key] = learned(self, level, memory)
        self._open.pop()
        self._index = outer
        return self._results[key]

    # --- the update ------------------------------------------------------------------------

    def _update(self) -> str | None:
        flow = self._flows.get("update")
        if flow is None:
            report_no_update(self.declaration, self._declared, self.diagnostics)
            return None
        result = self.named(flow.name)
        if isinstance(result, Unknown):
            return None
        if result.shape != WEIGHT:
            report_shape(flow, result.shape, self.diagnostics)
            return None
        if result.memory is not None and result.memory.kind == "associative":
            self.flows.is_network(result, flow.value.span)
            return None
        assert isinstance(result.operand, str)
        return result.operand
