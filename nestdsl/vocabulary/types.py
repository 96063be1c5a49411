"""What a signature is: arguments, kinds, functions, optimizers, and what each needs and gives.

Sizes are the last dimension of a flow `[batch, tokens, size]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

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


class Takes(Enum):
    """What a kind reads."""

    IDS = "ids"
    VECTORS = "vectors"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of level.

    `output_size(arguments, input_size)` gives the size it makes; for a memory that learns
    `key -> value` the value's size is used instead. `divisors(arguments)` names what must divide
    the sizes it reads and makes. `parameters(arguments, input_size, output_size)` gives the
    shapes of its learned tensors, `state(...)` those of what it keeps for each sequence,
    `flops(...)` the floating-point operations for one token, forward. `grows(...)` gives, for
    each token of context, how many numbers it keeps and how many operations that costs a token.
    Of the arguments named in `alternatives` at most one may be given. `starts` are the words of
    `init` that have a meaning for it, beside `learned`.
    """

    name: str
    summary: str
    arguments: tuple[ArgumentSpec, ...] = ()
    takes: Takes = Takes.VECTORS
    output_size: Callable[[Arguments, int], int] = lambda arguments, size: size
    parameters: Callable[[Arguments, int, int], Shapes] = lambda arguments, in_, out: ()
    state: Callable[[Arguments, int, int], Shapes] = lambda arguments, in_, out: ()
    flops: Callable[[Arguments, int, int], int] = lambda arguments, in_, out: 0
    grows: Callable[[Arguments, int, int], tuple[int, int]] = lambda arguments, in_, out: (0, 0)
    is_memory: bool = False
    is_nonparametric: bool = False
    is_causal: Callable[[Arguments], bool] = lambda arguments: True
    is_custom: bool = False
    alternatives: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()

    def has_parameters(self, arguments: Arguments) -> bool:
        """Whether a level of this kind has learned tensors."""
        return bool(self.parameters(arguments, 1, 1))


def _prod(shape: tuple[int, ...]) -> int:
    result = 1
    for extent in shape:
        result *= extent
    return result


def count(shapes: Shapes) -> int:
    """How many numbers the tensors of these shapes hold."""
    return sum(_prod(shape) for _, shape in shapes)


class Place(Enum):
    """Where a function may stand."""

    MODEL = "model"
    OPTIMIZER = "optimizer"
    BOTH = "both"


class Range(Enum):
    """What is known of the sign of a function's values."""

    ANY = "any"
    NEVER_NEGATIVE = "never negative"
    SIGN_OF_FIRST = "that of its first flow, or zero"


@dataclass(frozen=True, slots=True)
class Function:
    """A stateless function of flows.

    It takes `flows` flows (None: one or more; 0: it makes one of numbers), then compile-time arguments.
    `output_size(sizes, arguments)` gives its size; `fold` computes it at compile time if all its flows are
    numbers, from these and its arguments by name. Every function that works element by element, or gives one
    number, has one. range: what is known of the sign of its values.
    """

    name: str
    summary: str
    flows: int | None = 1
    arguments: tuple[ArgumentSpec, ...] = ()
    output_size: Callable[[tuple[int, ...], Arguments], int] = lambda sizes, arguments: max(sizes)
    fold: Callable[..., float] | None = None
    place: Place = Place.BOTH
    range: Range = Range.ANY
    is_causal: bool = True
    is_custom: bool = False


@dataclass(frozen=True, slots=True)
class OptimizerSignature:
    """An optimizer of memories that learn in context: it moves their state while a sequence is read.

    Arguments named in `flow_arguments` may be flows with one value per head and token.
    """

    name: str
    summary: str
    arguments: tuple[ArgumentSpec, ...] = ()
    flow_arguments: tuple[str, ...] = ()
