"""Names, words and numbers of a plan that was read, one at a time."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection
from typing import TypeGuard

from nestdsl.limits import MAX_NAME_LENGTH
from nestdsl.plan.names import TAKEN
from nestdsl.vocabulary.signatures import ArgumentSpec, Function, Type, Value

ARITHMETIC = {"add": 2, "subtract": 2, "multiply": 2, "divide": 2, "power": 2, "negate": 1}
"""How many operands the arithmetic of flows and of optimizers takes."""
LONGEST = 5 * MAX_NAME_LENGTH
"""Characters of a name: those of variables are made of several of a program's."""
_IDENTIFIER = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_]*")


class OddPlanError(Exception):
    """A plan holds what no program gives; the message names the place."""


def require(holds: bool, message: str) -> None:
    """Raises OddPlanError with this message where it does not hold."""
    if not holds:
        raise OddPlanError(message)


def require_identifier(name: str, place: str, *, free: bool = True) -> str:
    """A name as programs have it. With `free` it may not be one that modules have already."""
    is_name = len(name) <= LONGEST and _IDENTIFIER.fullmatch(name) and not keyword.iskeyword(name)
    require(bool(is_name) and not (free and name in TAKEN), f"{place} has the name {shown(name)}")
    return name


def require_member(word: object, known: Collection[object], place: str) -> None:
    """Raises OddPlanError for a word that is none of the known ones."""
    require(word in known, f"{place} is {shown(word)}, which is not known here")


def require_arguments(
    arguments: tuple[tuple[str, Value], ...], specs: tuple[ArgumentSpec, ...], place: str
) -> None:
    """Compile-time arguments as the signature of a kind or function declares them, all that are needed."""
    known = {spec.name: spec for spec in specs}
    given = {name for name, _ in arguments}
    for spec in specs:
        require(spec.name in given, f"{place} does not say `{spec.name}`")
    for name, value in arguments:
        require_member(name, known, f"an argument of {place}")
        require(_fits(value, known[name]), f"{name} of {place} is {shown(value)}")


def require_operands(function: Function, count: int, place: str) -> None:
    """As many flows as a function takes."""
    fits = count >= 1 if function.flows is None else count == function.flows
    require(fits, f"{place} gives `{function.name}` {count} operands")


def _fits(value: Value, spec: ArgumentSpec) -> bool:
    match spec.type:
        case _ if value is None:
            return spec.default is None
        case Type.STRING:
            return isinstance(value, str) and (not spec.choices or value in spec.choices)
        case Type.BOOLEAN:
            return isinstance(value, bool)
        case Type.WHOLE:
            return is_number(value) and isinstance(value, int) and _is_within(value, spec)
        case Type.NUMBER:
            return is_number(value) and _is_within(value, spec)


def is_number(value: Value) -> TypeGuard[int | float]:
    """Whether a value is a number: true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_within(value: int | float, spec: ArgumentSpec) -> bool:
    if spec.minimum is not None and (value < spec.minimum or (spec.exclusive and value == spec.minimum)):
        return False
    return spec.maximum is None or value <= spec.maximum


def shown(value: object) -> str:
    """A value of any kind on one line, shortened."""
    is_large = isinstance(value, int) and value.bit_length() > 128  # of which Python writes no digits
    text = "a very large number" if is_large else ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
