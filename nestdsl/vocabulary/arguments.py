"""Compile-time arguments: their types, defaults and ranges, and the shapes that follow from them.

Sizes are the last dimension of a flow `[batch, tokens, size]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import prod

Value = int | float | bool | str | None
Arguments = Mapping[str, Value]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class Type(Enum):
    """The type of a compile-time argument, as messages name it."""

    WHOLE = "a whole number"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    STRING = "a string"


class Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = Required()


@dataclass(frozen=True, slots=True)
class ArgumentSpec:
    """One argument: its type, default (REQUIRED if none; None means "inferred") and range.

    `exclusive` leaves the minimum itself out; `choices` lists what a string may be.
    """

    name: str
    type: Type
    default: Value | Required = REQUIRED
    minimum: float | None = None
    maximum: float | None = None
    exclusive: bool = False
    choices: tuple[str, ...] = ()


def whole(name: str, default: Value | Required = REQUIRED, minimum: int = 1) -> ArgumentSpec:
    """A whole number of at least `minimum`."""
    return ArgumentSpec(name, Type.WHOLE, default, minimum=minimum)


def flag(name: str, default: bool) -> ArgumentSpec:
    """True or false."""
    return ArgumentSpec(name, Type.BOOLEAN, default)


def positive(name: str, default: Value | Required = REQUIRED) -> ArgumentSpec:
    """A number above zero."""
    return ArgumentSpec(name, Type.NUMBER, default, minimum=0.0, exclusive=True)


HEADS = whole("heads", 1)
EPSILON = positive("eps", 1e-6)
ACTIVATION = ArgumentSpec("activation", Type.STRING, "gelu", choices=("gelu", "silu", "relu", "tanh"))


def count(shapes: Shapes) -> int:
    """How many numbers the tensors of these shapes hold."""
    return sum(prod(shape) for _, shape in shapes)
