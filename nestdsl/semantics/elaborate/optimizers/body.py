"""Elaborates the body of one optimizer, with its parameters, to an `OptimizerProgram`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.optimizer import GradientMemory, OptimizerProgram, Schedule
from nestdsl.limits import MAX_LEVELS
from nestdsl.semantics.constants import UNKNOWN, Constant, Unknown
from nestdsl.semantics.elaborate.arrays import position_in, report_no_array, report_whole_array
from nestdsl.semantics.elaborate.optimizers.circles import report_needs_itself
from nestdsl.semantics.elaborate.optimizers.climbing import report_direction
from nestdsl.semantics.elaborate.optimizers.flows import OptimizerFlows, as_flow
from nestdsl.semantics.elaborate.optimizers.lines import Flow, number
from nestdsl.semantics.elaborate.optimizers.memories import learned, read_memory
from nestdsl.semantics.elaborate.optimizers.needed import learned_in, needed
from nestdsl.semantics.elaborate.optimizers.schedules import quoted_schedule
from nestdsl.semantics.elaborate.optimizers.scope import OptimizerScope, Otherwise
from nestdsl.semantics.elaborate.optimizers.unused import report_unused
from nestdsl.semantics.elaborate.optimizers.wrong_update import report_no_update, report_shape
from nestdsl.semantics.modules import Module
from nestdsl.semantics.names.optimizers import IN_SCOPE
from nestdsl.semantics.values.parameters import FileParameters
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.shapes import CONSTANT, WEIGHT
from nestdsl.vocabulary.signatures import Value
from nestdsl.vocabulary.timing import ReadTime


class OptimizerBody(OptimizerScope):
    """One optimizer with its parameters; `run` gives its program.

    `elaborate_otherwise` elaborates the optimizer to which it leaves the weights that are no matrices.
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
        elaborate_otherwise: Callable[[OptimizerScope, ast.Call], Otherwise | None],
    ) -> None:
        super().__init__(module, declaration, values, schedules, parameters, diagnostics, places)
        self._elaborate_otherwise = elaborate_otherwise
        self._flows, self._levels = self.declared.flows, self.declared.levels
        self._results: dict[str, Flow | Unknown] = {}
        self._memories: dict[str, GradientMemory] = {}
        self._open: list[tuple[str, Span]] = []

    def run(self) -> OptimizerProgram | None:
        """The program; None after a mistake, all of which are reported."""
        before = len(self.parameters.diagnostics)
        for name in [*self._flows, *self._levels]:
            if name in self._levels and self._levels[name].count is not None:
                for index in range(self._count(self._levels[name]) or 0):
                    self._memory(self._levels[name], index)
            elif name in self._levels:
                self._memory(self._levels[name], None)
            else:
                self._flow(self._flows[name].name)
        update = self._update()
        for name in list(self._memories):
            self._learn(name)
        otherwise = self._otherwise()
        if update is None or len(self.diagnostics) or len(self.parameters.diagnostics) > before:
            return None
        report_unused(self.declaration, self._flows, self._levels, self.used, self.diagnostics)
        arguments = otherwise.arguments if otherwise else ()
        lines = needed((update, *(value for _, value in arguments)), self._memories, self.lines.all)
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
        report_direction(program, self.lines.values(), self._flows["update"].span, self.diagnostics)
        return program

    # --- what it leaves to others ----------------------------------------------------------

    def _otherwise(self) -> Otherwise | None:
        only = self.declared.only
        return None if only is None else self._elaborate_otherwise(self, only.otherwise)

    # --- names -----------------------------------------------------------------------------

    def named(self, name: ast.Name) -> Flow | Unknown:
        """What a name in a flow means."""
        text = name.text
        if text in IN_SCOPE:
            return Flow(text, IN_SCOPE[text])
        if text in self.values:
            return self._parameter(name)
        if text in self._levels:
            return self._state(self._levels[text], None, name.span)
        if text in self._flows:
            self.used.add(text)
            return self._flow(name)
        if text == "index" and self.index is not None:
            return number(self.index)
        found = self.module.find(text)
        if found and isinstance(found[1], ast.Param):
            value = self.parameters.value(*found)  # type: ignore[arg-type]
            return UNKNOWN if isinstance(value, Unknown) else self._number_of(name, value)
        return self.unknown(name)

    def _parameter(self, name: ast.Name) -> Flow | Unknown:
        self.used.add(name.text)
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

    def _number_of(self, name: ast.Name, value: Value) -> Flow | Unknown:
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

    def _flow(self, name: ast.Name) -> Flow | Unknown:
        text = name.text
        if text not in self._results:
            if self._is_open(name):
                return UNKNOWN
            self._open.append((text, name.span))
            self._results[text] = as_flow(OptimizerFlows(self, text).expression(self._flows[text].value))
            self._open.pop()
        return self._results[text]

    def _is_open(self, name: ast.Name) -> bool:
        """Reports a name that needs itself."""
        names = [one for one, _ in self._open]
        if name.text not in names:
            return False
        report_needs_itself(name, names, self._levels, self.diagnostics)
        return True

    def element(self, index: ast.Index) -> Flow | Unknown:
        """`m[0]`: one memory of an array."""
        name = index.name.text
        level = self._levels.get(name)
        if level is None or level.count is None:
            if level is None and not self.declares(name):
                return self.unknown(index.name)
            report_no_array(index, "not an array of levels", self.diagnostics)
            return UNKNOWN
        self.used.add(name)
        count, value = self._count(level), self.constant(index.index)
        place = None if count is None else position_in(index, value, count, self.diagnostics)
        return UNKNOWN if place is None else self._state(level, place, index.span)

    def state(self, name: ast.Name) -> Flow | Unknown:
        """The state of a memory, as later lines read it."""
        level = self._levels.get(name.text)
        if level is None:
            self.diagnostics.report(
                "N0104",
                f"`{name.text}` is not a function",
                name.span,
                "only functions and the memories `matrix` and `associative` take arguments",
            )
            return UNKNOWN
        return self._state(level, None, name.span)

    # --- memories --------------------------------------------------------------------------

    def _count(self, level: ast.Level) -> int | None:
        """The number of levels of an array, or N0202; None for one that is not known."""
        assert level.count is not None
        value = self.constant(level.count)
        if isinstance(value, Unknown):
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_LEVELS:
            self.diagnostics.report(
                "N0202",
                "the number of levels of an array is a positive whole number",
                level.count.span,
                "write one, such as 3",
            )
            return None
        return value

    def _memory(self, level: ast.Level, index: int | None) -> GradientMemory | None:
        name = level.name.text if index is None else f"{level.name.text}[{index}]"
        if name in self._memories:
            return self._memories[name]
        if name in self._results and isinstance(self._results[name], Unknown):
            return None
        outer, self.index = self.index, index
        memory = read_memory(self, level, name)
        self.index = outer
        if memory is None:
            self._results[name] = UNKNOWN
        else:
            self._memories[name] = memory
        return memory

    def _state(self, level: ast.Level, index: int | None, span: Span) -> Flow | Unknown:
        name = level.name.text
        if index is None and level.count is not None:
            report_whole_array(name, span, self.diagnostics)
            return UNKNOWN
        self.used.add(name)
        memory = self._memory(level, index)
        if memory is None:
            return UNKNOWN
        if memory.name in self._results:
            return self._results[memory.name]
        state = Flow(memory.name, WEIGHT, memory.period, None, memory)
        if memory.read is ReadTime.AFTER:
            if self._is_open(ast.Name(memory.name, span)):
                return UNKNOWN
            learned = self._learn(memory.name)
            state = learned if isinstance(learned, Flow) and learned.memory is None else state
            if isinstance(learned, Unknown):
                return UNKNOWN
        self._results[memory.name] = state
        return state

    def _learn(self, name: str) -> Flow | Unknown:
        """Adds the line in which a memory learns; its state, or its input if it keeps nothing."""
        key = f"learn {name}"
        if key in self._results:
            return self._results[key]
        memory = self._memories[name]
        base, _, rest = name.partition("[")
        level = self._levels[base]
        outer, self.index = self.index, int(rest[:-1]) if rest else None
        self._open.append((name, level.span))
        self._results[key] = learned(self, level, memory)
        self._open.pop()
        self.index = outer
        return self._results[key]

    # --- the update ------------------------------------------------------------------------

    def _update(self) -> str | None:
        flow = self._flows.get("update")
        if flow is None:
            report_no_update(self.declaration, self.declared, self.diagnostics)
            return None
        result = self.named(flow.name)
        if isinstance(result, Unknown):
            return None
        if result.shape != WEIGHT:
            report_shape(flow, result.shape, self.diagnostics)
            return None
        if result.memory is not None and result.memory.declared.is_network:
            OptimizerFlows(self, "update").is_network(result, flow.value.span)
            return None
        assert isinstance(result.operand, str)
        return result.operand
