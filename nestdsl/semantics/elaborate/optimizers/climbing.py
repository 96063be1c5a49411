"""Whether an update climbs: it has the sign of the gradient, which leads to a larger loss.

What is computed has a direction, as far as that can be shown, and a sign. Only what is shown to climb
is reported: where a direction is lost, in a network or a product of flows, nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.optimizer import Line, Operand, OptimizerProgram
from nestdsl.source import Span
from nestdsl.vocabulary.signatures import LIBRARY
from nestdsl.vocabulary.types import Range

NEVER_NEGATIVE = ("lr", "eps", "decay")
"""Parameters that have a meaning by their name in every optimizer, and are never below zero."""


class Way(Enum):
    """How something moves with the gradient."""

    ALONE = "not at all"
    ALONG = "along it"
    AGAINST = "against it"
    UNKNOWN = "nobody knows"


@dataclass(frozen=True, slots=True)
class _Known:
    """`sign` is 1 for what is never negative, -1 for what is never positive, 0 where that is not known."""

    way: Way
    sign: int = 0


_AT_FIRST = {
    Range.ANY: _Known(Way.UNKNOWN),
    Range.NEVER_NEGATIVE: _Known(Way.UNKNOWN, 1),
    Range.SIGN_OF_FIRST: _Known(Way.ALONE, 1),
}
"""What is known of a memory before it has learned, by the range of its kind: it is zero then."""
_PASSES = 4
"""Memories that learn from one another are gone through so often; what is not settled then is unknown."""


def is_never_negative(parameter: str) -> bool:
    """Whether a parameter has a meaning by its name, and is never below zero."""
    return parameter in NEVER_NEGATIVE or parameter.endswith("_lr")


def report_direction(
    program: OptimizerProgram, values: Mapping[Operand, float], span: Span, diagnostics: Diagnostics
) -> None:
    """Warns of an update that adds the weight itself, or climbs; `values` are those of constants."""
    if adds_weight(program):
        diagnostics.report(
            "N0306",
            f"the update of `{program.name}` has the weight itself in it: what it gives is added to the "
            "weight, which doubles",
            span,
            "leave `weight` out: write `flow update = -lr * grad`",
        )
    elif climbs(program, values):
        diagnostics.report(
            "N0306",
            f"the update of `{program.name}` has the sign of the gradient: it climbs, to a larger loss",
            span,
            "the update is added to the weight: write `flow update = -lr * grad` to descend",
        )


def climbs(program: OptimizerProgram, values: Mapping[Operand, float]) -> bool:
    """Whether the update is shown to have the sign of the gradient; `values` are those of constants."""
    numbers = {
        name: _Known(Way.ALONE, _sign(value))
        for name, value in program.parameters
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    start = {
        "grad": _Known(Way.ALONG),
        "weight": _Known(Way.ALONE),
        "step_count": _Known(Way.ALONE, 1),
        **numbers,
    }
    memories = {memory.name: _AT_FIRST[memory.declared.range] for memory in program.memories}
    follow = {memory.name for memory in program.memories if memory.declared.range is Range.SIGN_OF_FIRST}
    for _ in range(_PASSES):
        known = {**start, **memories}
        learned: dict[str, _Known] = {}
        for line in program.lines:
            if line.function != "learn":
                value = values.get(line.result)
                known[line.result] = _of(line, known) if value is None else _Known(Way.ALONE, _sign(value))
            elif line.result in follow:
                learned[line.result] = known[line.result] = _operand(line.operands[0], known)
        if learned.items() <= memories.items():
            return _operand(program.update, known).way is Way.ALONG
        memories |= learned
    return False


def adds_weight(program: OptimizerProgram) -> bool:
    """Whether the weight itself is in the update: what should have taken the weight's place, not be added."""
    times: dict[Operand, int] = {"weight": 1}
    for line in program.lines:
        counts = [times.get(operand, 0) for operand in line.operands]
        match line.function, counts:
            case "add", (one, other):
                times[line.result] = one + other
            case "subtract", (one, other):
                times[line.result] = one - other
            case "negate", (one,):
                times[line.result] = -one
    return times.get(program.update, 0) > 0


def _operand(operand: Operand, known: Mapping[str, _Known]) -> _Known:
    if isinstance(operand, str):
        # A parameter without a value: of an optimizer that is only tried.
        return known.get(operand) or _Known(Way.ALONE, 1 if is_never_negative(operand) else 0)
    return _Known(Way.ALONE, _sign(operand))


def _sign(value: float) -> int:
    return 1 if value >= 0 else -1


def _of(line: Line, known: Mapping[str, _Known]) -> _Known:
    operands = [_operand(operand, known) for operand in line.operands]
    first = operands[0]
    match line.function, operands:
        case "negate", _:
            return _turned(first)
        case "add", (one, other):
            return _sum(one, other)
        case "subtract", (one, other):
            return _sum(one, _turned(other))
        case "multiply", (one, other):
            if line.operands[0] == line.operands[1]:
                return _Known(_lost(one.way), 1)
            return _product(one, other)
        case "divide", (one, other):
            return _product(one, other) if other.sign else _lost_in(operands)
        case "power", _ if line.operands[1] == 2:
            return _Known(_lost(first.way), 1)
        case "power", _ if first.sign > 0:
            return _Known(_lost_in(operands).way, 1)
        case (("max" | "min"), (one, other)):
            decisive = 1 if line.function == "max" else -1
            both = one.sign if one.sign == other.sign else 0
            sign = decisive if decisive in (one.sign, other.sign) else both
            return _Known(_lost_in(operands).way, sign)
        case "bias", _:
            return _Known(_lost_in(operands).way, 1)
        case function, _ if function in LIBRARY.functions:
            match LIBRARY.functions[function].range:
                case Range.NEVER_NEGATIVE:
                    return _Known(_lost_in(operands).way, 1)
                case Range.SIGN_OF_FIRST:
                    return first
    return _lost_in(operands)


def _turned(one: _Known) -> _Known:
    way = {Way.ALONG: Way.AGAINST, Way.AGAINST: Way.ALONG}.get(one.way, one.way)
    return _Known(way, -one.sign)


def _lost(way: Way) -> Way:
    return Way.ALONE if way is Way.ALONE else Way.UNKNOWN


def _lost_in(operands: list[_Known]) -> _Known:
    """What is computed from these in a way that keeps no direction."""
    return _Known(Way.ALONE if all(one.way is Way.ALONE for one in operands) else Way.UNKNOWN)


def _sum(one: _Known, other: _Known) -> _Known:
    sign = one.sign if one.sign == other.sign else 0
    if one.way is other.way or other.way is Way.ALONE:
        return _Known(one.way, sign)
    return _Known(other.way if one.way is Way.ALONE else Way.UNKNOWN, sign)


def _product(one: _Known, other: _Known) -> _Known:
    """Of a direction and what has a sign, such as a rate or a scale, whatever that depends on."""
    for moved, factor in ((one, other), (other, one)):
        if moved.way in (Way.ALONG, Way.AGAINST) and factor.sign:
            return moved if factor.sign > 0 else _turned(moved)
    return _Known(_lost_in([one, other]).way, one.sign * other.sign)
