"""The equations of an optimizer's program: how it moves the weights W, and what its memories learn.

Flows, memories and parameters have the names of the program; W is the weight, G its gradient. An
elementwise product of two flows is ⊙; all other functions are those of the language.
"""

from __future__ import annotations

from collections.abc import Callable

from nestdsl.explain import iterations
from nestdsl.explain.descent import Clock
from nestdsl.graph.optimizer import GradientMemory, Line, Operand, OptimizerProgram
from nestdsl.graph.optimizer_text import named_flows
from nestdsl.vocabulary.gradient_memories import Move
from nestdsl.vocabulary.shapes import CONSTANT, NUMBER, WEIGHT, Shape
from nestdsl.vocabulary.signatures import LIBRARY
from nestdsl.vocabulary.terms import (
    ONE,
    Absolute,
    Apply,
    Equation,
    Floor,
    Hadamard,
    Negative,
    Norm,
    Number,
    Power,
    Ratio,
    Root,
    Symbol,
    Term,
    Total,
    Transpose,
    apply,
    before,
    minus,
    plus,
    times,
)
from nestdsl.vocabulary.timing import ReadTime

Equations = tuple[Equation, ...]


class Writer:
    """Writes the equations of one program, for weights that move by one clock.

    `varying` are the parameters that change from update to update: they follow a schedule. `where`
    gives the flows and debiased averages that the terms written so far speak of.
    """

    def __init__(
        self, program: OptimizerProgram, clock: Clock, varying: frozenset[str] = frozenset()
    ) -> None:
        self.program, self.clock = program, clock
        self.varying = varying | {schedule.parameter for schedule in program.schedules}
        self.memories = {memory.name: memory for memory in program.memories}
        self.lines = {line.result: line for line in program.lines if line.function != "learn"}
        self._learns = {line.result: line for line in program.lines if line.function == "learn"}
        self._flows = named_flows(program)
        names = {*self.memories, *self._flows.values(), *(name for name, _ in program.parameters)}
        self.weight = Symbol(free(names, "W", "weight"))
        self.gradient = Symbol(free(names, "G", "grad"))
        self._place = Symbol(free(names, "j", "k", "n"))
        self._names = names
        self._spoken: dict[str, None] = {}
        self._hats: dict[str, None] = {}

    # --- equations -------------------------------------------------------------------------

    def update(self) -> Equation:
        """`W_i = W_{i−1} + …`."""
        moved = self._result(self.program.update, self.clock.index)
        return self.clock.equation(self.weight, plus(self.weight.at(self.clock.last), moved))

    def memory(self, memory: GradientMemory) -> tuple[Equations, Equations]:
        """How a memory moves, and how it answers keys, if it does."""
        clock = Clock(self.clock.index, self.clock.period * memory.period)
        declared, learned, state = memory.declared, self._learned(memory), Symbol(memory.name)
        move = Move(
            state,
            clock.index,
            clock.last,
            tuple(self._gathered(memory, part) for part in range(len(learned))),
            self._shape(learned[-1]) in (CONSTANT, NUMBER),
            {name: self.term(operand, clock.index) for name, operand in memory.arguments},
            Symbol(free(self._names, "error", "e")),
        )
        moved = declared.equation(move)
        equations = tuple(
            clock.equation(state, right) if part is None else clock.layer(state, part, right)
            for part, right in moved.parts
        )
        answers = (declared.answered(state, clock.index),) if declared.answered else ()
        return (*equations, *moved.where), answers

    def where(self) -> Equations:
        """The flows and debiased averages that were spoken of, and those that these speak of."""
        index = self.clock.index
        found: dict[str, Equation] = {}
        while missing := [name for name in (*self._spoken, *self._hats) if name not in found]:
            for name in missing:
                if name in self._hats:
                    found[name] = self._debiased(name)
                else:
                    left = self._symbol(self._flows[name], name, index)
                    found[name] = Equation(left, self._line(self.lines[name], index))
        return tuple(found.values())

    def context(self, memory: GradientMemory) -> tuple[Term, ...]:
        """What a memory learns at an update: a flow, or a key and a value."""
        return tuple(self.term(operand, self.clock.index) for operand in self._learned(memory))

    def iterated(self, line: Line) -> tuple[Term, Symbol, Equations]:
        """What an iteration starts from, the matrix that it iterates, and its steps."""
        start = self.term(line.operands[0], self.clock.index)
        x = Symbol(free(self._names, "X", "O", "iterate"))
        gram = Symbol(free(self._names, "A", "gram"))
        steps = dict(line.options)["steps"]
        assert isinstance(steps, int)
        return start, x, iterations.newton_schulz(start, x, gram, self._place, steps)

    def text_of(self, operand: Operand) -> Term:
        """A number or a constant of the program, as the arguments of another optimizer name it."""
        return self.term(operand, self.clock.index)

    def is_timeless(self, operand: Operand) -> bool:
        """Whether a value is the same at every update."""
        match operand:
            case str() if operand in self.lines:
                line = self.lines[operand]
                is_of_shape = line.function in ("rows", "columns")
                return is_of_shape or all(self.is_timeless(one) for one in line.operands)
            case str():
                return operand in dict(self.program.parameters) and operand not in self.varying
        return True

    # --- terms -----------------------------------------------------------------------------

    def term(self, operand: Operand, at: Term) -> Term:
        """An operand at a time; named flows by their names."""
        if isinstance(operand, str) and operand in self._flows:
            self._spoken[operand] = None
            return self._symbol(self._flows[operand], operand, at)
        return self._result(operand, at)

    def _result(self, operand: Operand, at: Term) -> Term:
        if not isinstance(operand, str):
            return Number(operand)
        match operand:
            case "grad":
                return self.gradient.at(at)
            case "weight":
                return self.weight.at(before(at, self.clock.period))
            case "step_count":
                return at if self.clock.period == 1 else Ratio(at, Number(self.clock.period))
        if operand in self.memories:
            return Symbol(operand).at(self._read_at(operand, at))
        if operand in self.lines:
            return self._line(self.lines[operand], at)
        return Symbol(operand).at(at) if operand in self.varying else Symbol(operand)

    def _symbol(self, name: str, result: str, at: Term) -> Symbol:
        return Symbol(name) if self.is_timeless(result) else Symbol(name).at(at)

    def _read_at(self, memory: str, at: Term) -> Term:
        is_earlier = self.memories[memory].read is ReadTime.BEFORE
        return before(at, self.clock.period) if is_earlier else at

    def _line(self, line: Line, at: Term) -> Term:
        if line.function == "debias":
            memory = str(line.operands[0])
            self._hats[memory] = None
            return Symbol(memory, (self._read_at(memory, at),), "hat")
        if line.function in ("rows", "columns") and line.operands[0] in ("weight", "grad"):
            return apply(line.function, self.weight)
        if line.function == "answer":
            memory, key = str(line.operands[0]), self.term(line.operands[1], at)
            state = Symbol(memory).at(self._read_at(memory, at))
            return (
                Apply(state, (key,))
                if self.memories[memory].declared.is_network
                else times(state, Transpose(key))
            )
        operands = [self.term(operand, at) for operand in line.operands]
        numbers = [self._shape(operand) in (CONSTANT, NUMBER) for operand in line.operands]
        return _operation(line, operands, numbers)

    def _shape(self, operand: Operand) -> Shape:
        if not isinstance(operand, str) or operand == "step_count":
            return CONSTANT
        if operand in self.lines:
            return self.lines[operand].shape
        return WEIGHT if operand in self.memories or operand in ("grad", "weight") else CONSTANT

    # --- memories --------------------------------------------------------------------------

    def _learned(self, memory: GradientMemory) -> tuple[Operand, ...]:
        return self._learns[memory.name].operands

    def _gathered(self, memory: GradientMemory, part: int) -> Term:
        """What a memory learns from: the mean or the sum of what gathered since its last move."""
        operand, index, updates = self._learned(memory)[part], self.clock.index, memory.period
        if updates == 1:
            return self.term(operand, index)
        if self.clock.period == 1:
            place = self._place
            total = Total(place, before(index, updates - 1), index, self.term(operand, place))
        else:
            place = minus(index, times(Number(self.clock.period), self._place))
            total = Total(self._place, Number(0), Number(updates - 1), self.term(operand, place))
        return total if memory.reduce == "sum" else times(Ratio(ONE, Number(updates)), total)

    def _debiased(self, name: str) -> Equation:
        """`m̂_i = m_i / (1 − β^i)`; before the first move, m̂ is 0 as m is."""
        memory, index = self.memories[name], self.clock.index
        period = self.clock.period * memory.period
        count: Term = index if period == 1 else Ratio(index, Number(period))
        if memory.period > 1:
            count = Floor(count)
        if memory.period > 1 or memory.read is ReadTime.BEFORE:
            count = apply("max", ONE, count)
        decay = self.term(dict(memory.arguments)["decay"], index)
        right = Ratio(Symbol(name).at(index), minus(ONE, Power(decay, count)))
        return Equation(Symbol(name, (index,), "hat"), right)


def free(taken: set[str], *candidates: str) -> str:
    """The first name that a program does not use itself."""
    return next((name for name in candidates if name not in taken), f"{candidates[0]}′")


def _operation(line: Line, operands: list[Term], numbers: list[bool]) -> Term:
    match line.function, operands:
        case "add", (left, right):
            return plus(left, right)
        case "subtract", (left, right):
            return plus(left, _negated(right))
        case "negate", (one,):
            return _negated(one)
        case "multiply", (left, right):
            is_scaled = any(numbers)
            return _signed(lambda a, b: times(a, b) if is_scaled else Hadamard((a, b)), left, right)
        case "divide", (left, right):
            return _signed(Ratio, left, right)
        case "power", (left, right):
            return Power(left, right)
        case "sqrt", (one,):
            return Root(one)
        case "abs", (one,):
            return Absolute(one)
        case "norm", (one,):
            return Norm(one)
        case "transpose", (one,):
            return Transpose(one)
        case "matmul", (left, right):
            return _signed(times, left, right)
        case "outer", (left, *rest):
            return _signed(times, left, Transpose(rest[0] if rest else left))
    specs = {spec.name: spec.default for spec in LIBRARY.functions[line.function].arguments}
    options = tuple(
        (name, Symbol(value) if isinstance(value, str) else Number(value))
        for name, value in line.options
        if value != specs[name] and isinstance(value, str | int | float)
    )
    return Apply(Symbol(line.function), tuple(operands), options)


def _negated(term: Term) -> Term:
    match term:
        case Negative(inner):
            return inner
        case Number(value):
            return Number(-value)
    return Negative(term)


def _signed(combine: Callable[[Term, Term], Term], left: Term, right: Term) -> Term:
    """A product or a quotient, its sign before it."""
    is_negative = False
    parts: list[Term] = []
    for term in (left, right):
        match term:
            case Negative(inner):
                is_negative = not is_negative
                parts.append(inner)
            case Number(value) if value < 0:
                is_negative = not is_negative
                parts.append(Number(-value))
            case _:
                parts.append(term)
    combined = combine(*parts)
    return Negative(combined) if is_negative else combined
