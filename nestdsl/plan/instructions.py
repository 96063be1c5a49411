"""What a body does, in order: each instruction gives one value a name.

A flow is named by the variable that holds it, [batch, tokens, size]. `level` and `block` are attributes of
the body. `context` is what a memory's pass over its context flow left to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from nestdsl.vocabulary.signatures import Value

Pairs = tuple[tuple[str, Value], ...]
Operand = str | int | float
"""A flow, by its name, or a number."""


@dataclass(frozen=True, slots=True)
class Call:
    """result = function(operands, options): a function or an operator of flows.

    precise: it is computed in float32 at least (`runtime/precise.py`).
    """

    result: str
    function: str
    operands: tuple[Operand, ...]
    options: Pairs = ()
    precise: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """result = level(flow): what a layer makes of a flow; a level that keeps state goes on from its own.

    precise: as in `Call`.
    """

    result: str
    level: str
    flow: str
    precise: bool = False


@dataclass(frozen=True, slots=True)
class Learn:
    """result = the context that a memory leaves which learns `key -> value` at every token.

    values: one, or one for each of the memories that learn side by side. factors: what its optimizer takes:
    `step`, `retain`, `momentum`, each a number or a flow.
    """

    result: str
    level: str
    key: str
    values: tuple[str, ...]
    factors: tuple[tuple[str, Operand], ...] = ()


@dataclass(frozen=True, slots=True)
class Recall:
    """result = what a memory answers to a query from the context that it has learned.

    member: of memories side by side, the one that answers.
    """

    result: str
    level: str
    context: str
    query: str
    member: int | None = None


@dataclass(frozen=True, slots=True)
class Peek:
    """result = what a memory answers from its state at the start of the chunk, before it learns.

    member: of memories side by side, the one that answers; all of them without.
    """

    result: str
    level: str
    query: str
    member: int | None = None


@dataclass(frozen=True, slots=True)
class ReadStart:
    """result = what a memory answers from its state at the start of the context."""

    result: str
    level: str
    query: str


@dataclass(frozen=True, slots=True)
class Columns:
    """result = the answer of one member, of those of all memories side by side (`Peek`)."""

    result: str
    level: str
    answers: str
    member: int


@dataclass(frozen=True, slots=True)
class RunBlock:
    """result = block(flow): all its copies, one after the other."""

    result: str
    block: str
    flow: str


@dataclass(frozen=True, slots=True)
class Cast:
    """result = a flow in float32 at least."""

    result: str
    flow: str


@dataclass(frozen=True, slots=True)
class Round:
    """result = a flow in the precision of another one."""

    result: str
    flow: str
    like: str


Instruction = Call | Read | Learn | Recall | Peek | ReadStart | Columns | RunBlock | Cast | Round


def operands(line: Instruction) -> Iterator[str]:
    """The variables that an instruction reads."""
    match line:
        case Call():
            yield from (one for one in line.operands if isinstance(one, str))
        case Learn():
            yield from (line.key, *line.values)
            yield from (value for _, value in line.factors if isinstance(value, str))
        case Recall():
            yield from (line.context, line.query)
        case Peek() | ReadStart():
            yield line.query
        case Columns():
            yield line.answers
        case Read() | RunBlock() | Cast():
            yield line.flow
        case Round():
            yield from (line.flow, line.like)


def part_of(line: Instruction) -> str | None:
    """The level or block that an instruction runs, if it runs one."""
    match line:
        case Call() | Cast() | Round():
            return None
        case RunBlock():
            return line.block
        case _:
            return line.level


def renamed(line: Instruction, name: Callable[[str], str]) -> Instruction:
    """The same instruction of variables with other names: `name` gives the new one of each that it reads."""

    def operand(one: Operand) -> Operand:
        return name(one) if isinstance(one, str) else one

    match line:
        case Call():
            return replace(line, operands=tuple(operand(one) for one in line.operands))
        case Learn():
            factors = tuple((factor, operand(value)) for factor, value in line.factors)
            values = tuple(name(value) for value in line.values)
            return replace(line, key=name(line.key), values=values, factors=factors)
        case Recall():
            return replace(line, context=name(line.context), query=name(line.query))
        case Peek() | ReadStart():
            return replace(line, query=name(line.query))
        case Columns():
            return replace(line, answers=name(line.answers))
        case Read() | RunBlock() | Cast():
            return replace(line, flow=name(line.flow))
        case Round():
            return replace(line, flow=name(line.flow), like=name(line.like))
