"""What a memory of gradients is: its arguments, what it keeps and learns, and how its equation reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nestdsl.vocabulary.arguments import ArgumentSpec
from nestdsl.vocabulary.shapes import WEIGHT, Shape
from nestdsl.vocabulary.terms import Equation, Line, Symbol, Term
from nestdsl.vocabulary.types import Range


@dataclass(frozen=True, slots=True)
class Rate:
    """A number that moves a memory, from 0 to `most` (below it if `is_below`); a flow of numbers unless
    `is_constant`."""

    name: str
    default: float | None = None
    most: float = 1.0
    is_below: bool = False
    is_constant: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor that a memory keeps: its name within the memory, shape, and whether it starts at random."""

    name: str = ""
    shape: Shape = WEIGHT
    is_random: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """What the equation of a memory is made of, at one of its moves.

    state: its symbol; index and last: the times of this move and of the one before; learned: what gathered
    of what it learns, for some a key and a value; is_number: whether that value is one number; rates: by
    their names; error: a symbol that the program does not use.
    """

    state: Symbol
    index: Symbol
    last: Term
    learned: tuple[Term, ...]
    is_number: bool
    rates: Mapping[str, Term]
    error: Symbol

    @property
    def before(self) -> Symbol:
        """The state as it was."""
        return self.state.at(self.last)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a memory becomes: each matrix by its number (None: it is one), and what these speak of."""

    parts: tuple[tuple[Term | None, Term], ...]
    where: tuple[Equation, ...] = ()


@dataclass(frozen=True, eq=False)
class MemoryKind:
    """A kind of memory inside an optimizer, all that is known of it without torch.

    values: the shapes that the value for a key may have; without any it learns one flow by itself.
    answer: the shape of what it answers to keys, if it does. is_network: it has no value by itself.
    is_average: it is a moving average from zero, which `debias` corrects. range: what is known of the sign
    of its elements, from that of what it learns. is_elementwise: each element moves for itself.
    nothing_kept: with this rate at this value it is what it learns.

    example: what it can learn, of a flow; of_value: what it can learn for a key, in words; network: what it
    is, in words, for one that is no number for each weight.
    equation, answered: how it moves, and how it answers; objective: what it minimises, in words.
    """

    name: str
    summary: str
    rates: tuple[Rate, ...]
    equation: Callable[[Move], Moved]
    objective: Callable[[Mapping[str, Term]], Line]
    options: tuple[ArgumentSpec, ...] = ()
    parts: tuple[Part, ...] = (Part(),)
    values: tuple[Shape, ...] = ()
    answer: Shape | None = None
    is_network: bool = False
    is_average: bool = False
    range: Range = Range.ANY
    is_elementwise: bool = False
    nothing_kept: tuple[str, float] | None = None
    example: str = "{flow}"
    of_value: str = ""
    made_of: Callable[[str, Mapping[str, object]], str] | None = None
    answered: Callable[[Symbol, Term], Equation] | None = None

    @property
    def learns_pairs(self) -> bool:
        """Whether it learns a value for each key."""
        return bool(self.values)

    @property
    def start(self) -> str:
        """How it starts, in words."""
        return "the identity: its first layer random, its second zeros" if self.is_network else "zeros"
