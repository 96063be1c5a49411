"""What a signature is: kinds, functions, optimizers, and what each needs and gives.

Sizes are the last dimension of a flow `[batch, tokens, size]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cached_property

from nestdsl.vocabulary.arguments import Arguments, ArgumentSpec, Shapes
from nestdsl.vocabulary.starts import LEARNED, STARTS, Beginnings, Role
from nestdsl.vocabulary.terms import Term


class Takes(Enum):
    """What a kind reads."""

    IDS = "ids"
    VECTORS = "vectors"


class Memory(Enum):
    """The form of a memory, as far as the rules by which it can learn depend on it."""

    SOLVED = auto()
    """It keeps keys and values; its answer is recomputed at every read, and no optimizer moves it."""
    MATRIX = auto()
    """One matrix for each head: what it answers is linear in what it knows."""
    NETWORK = auto()
    """A network for each head: gradients are those at the start of a chunk."""


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of level, all that is known of it without torch.

    `output_size(arguments, input_size)` gives the size it makes; for a memory that learns
    `key -> value` the value's size is used instead. `parameters(arguments, input_size, output_size)` gives
    the shapes of its learned tensors, `state(...)` those of what it keeps for each sequence,
    `flops(...)` the floating-point operations for one token, forward. `grows(...)` gives, for
    each token of context, how many numbers it keeps and how many operations that costs a token.

    memory: the form in which it can learn `key -> value`; None: it cannot. has_matrices: whether its weights
    of two dimensions are matrices of a hidden level, as `only matrices` means them.
    alternatives: arguments of which at most one may be given; of_projections: those that go to the
    projections of attention. keeps: what its state is, in words.

    begins(arguments, role): how its weights start (None: nothing is drawn); lacks_start: words of `init` that
    have no meaning for it, and why; fixed_start: how it always starts, in words.
    equation(arguments, is_residual): what it makes of its input x_t as a layer; None: its page says it.

    also_called: its names elsewhere. takes_input_size: whether torch's module of it is given the size of what
    it reads first.
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
    memory: Memory | None = None
    has_matrices: bool = True
    is_norm: bool = False
    is_causal: Callable[[Arguments], bool] = lambda arguments: True
    is_custom: bool = False
    alternatives: tuple[str, ...] = ()
    of_projections: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    begins: Callable[[Arguments, Role], Beginnings] | None = None
    lacks_start: Mapping[str, str] = field(default_factory=dict)
    fixed_start: str = ""
    equation: Callable[[Arguments, bool], Term] | None = None
    also_called: tuple[str, ...] = ()
    takes_input_size: bool = False

    @cached_property
    def is_memory(self) -> bool:
        """Whether it can learn `key -> value`."""
        return self.memory is not None

    @cached_property
    def is_nonparametric(self) -> bool:
        """Whether it answers from the keys and values themselves, as attention does."""
        return self.memory is Memory.SOLVED

    @cached_property
    def draws_start(self) -> bool:
        """Whether its weights start at random, so that a word of `init` may say how."""
        return self.begins is not None and not self.fixed_start

    @cached_property
    def starts(self) -> tuple[str, ...]:
        """The words of `init` that have a meaning for it, beside `learned`."""
        lacks = (LEARNED, *self.lacks_start)
        return tuple(word for word in STARTS if word not in lacks) if self.draws_start else ()

    def has_parameters(self, arguments: Arguments) -> bool:
        """Whether a level of this kind has learned tensors."""
        return bool(self.parameters(arguments, 1, 1))

    def keeps_state(self, arguments: Arguments) -> bool:
        """Whether a level of this kind that is no memory keeps something of each sequence."""
        return self.memory is None and bool(self.state(arguments, 1, 1))


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
