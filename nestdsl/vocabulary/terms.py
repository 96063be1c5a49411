"""Equations as data: built once, written as Unicode or LaTeX by two small renderers.

Vectors are columns. A product of terms is the matrix product; `Hadamard`, `Ratio` and `Power`
go element by element. A symbol without an index stands for itself, such as a parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

Mark = Literal["", "hat", "prime"]


@dataclass(frozen=True, slots=True)
class Number:
    value: int | float


@dataclass(frozen=True, slots=True)
class Symbol:
    """A flow, a state or a parameter; the last index is the time."""

    name: str
    index: tuple[Term, ...] = ()
    mark: Mark = ""

    def at(self, *index: Term) -> Symbol:
        return Symbol(self.name, index, self.mark)


@dataclass(frozen=True, slots=True)
class Sum:
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Negative:
    term: Term


@dataclass(frozen=True, slots=True)
class Product:
    factors: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Hadamard:
    factors: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    above: Term
    below: Term


@dataclass(frozen=True, slots=True)
class Power:
    base: Term
    exponent: Term


@dataclass(frozen=True, slots=True)
class Transpose:
    term: Term


@dataclass(frozen=True, slots=True)
class Norm:
    """The Euclidean length."""

    term: Term


@dataclass(frozen=True, slots=True)
class Absolute:
    term: Term


@dataclass(frozen=True, slots=True)
class Root:
    term: Term


@dataclass(frozen=True, slots=True)
class Floor:
    term: Term


@dataclass(frozen=True, slots=True)
class Apply:
    """A function or a level of some terms; `options` are its compile-time arguments.

    With an `index`, the value at that time of a function of whole flows, such as a convolution.
    """

    function: Symbol
    arguments: tuple[Term, ...]
    options: tuple[tuple[str, Number | Symbol], ...] = ()
    index: Term | None = None


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of `term` over `index` from `first` to `last`."""

    index: Symbol
    first: Term
    last: Term
    term: Term


@dataclass(frozen=True, slots=True)
class Gradient:
    of: Term
    by: Symbol


Term = (
    Number
    | Symbol
    | Sum
    | Negative
    | Product
    | Hadamard
    | Ratio
    | Power
    | Transpose
    | Norm
    | Absolute
    | Root
    | Floor
    | Apply
    | Total
    | Gradient
)


@dataclass(frozen=True, slots=True)
class Condition:
    """The equation holds where `period` divides `index`; elsewhere its left side equals `otherwise`."""

    period: int
    index: Symbol
    otherwise: Term


@dataclass(frozen=True, slots=True)
class Equation:
    left: Term
    right: Term
    condition: Condition | None = None


Line = tuple["str | Term", ...]
"""A line of text with terms in it."""

ONE = Number(1)
T, S = Symbol("t"), Symbol("s")
IDENTITY = Symbol("I")


def plus(*terms: Term) -> Term:
    """A sum, flat."""
    flat: list[Term] = []
    for term in terms:
        flat += term.terms if isinstance(term, Sum) else (term,)
    return flat[0] if len(flat) == 1 else Sum(tuple(flat))


def minus(first: Term, *others: Term) -> Term:
    return plus(first, *(Negative(term) for term in others))


def times(*factors: Term) -> Term:
    """A product, flat, without ones; numbers go first."""
    flat: list[Term] = []
    for factor in factors:
        flat += factor.factors if isinstance(factor, Product) else (factor,)
    kept = [factor for factor in flat if factor != ONE]
    kept.sort(key=lambda factor: not isinstance(factor, Number))
    return ONE if not kept else kept[0] if len(kept) == 1 else Product(tuple(kept))


def before(index: Term, count: int) -> Term:
    """`t − count`."""
    return minus(index, Number(count))


def mean(count: int, term: Term) -> Term:
    """The mean of `term`, a function of s, over the last `count` tokens up to t."""
    first = plus(T, Number(1 - count)) if count == 1 else plus(T, Negative(Number(count - 1)))
    return times(Ratio(ONE, Number(count)), Total(S, first, T, term))


def apply(name: str, *arguments: Term) -> Apply:
    return Apply(Symbol(name), arguments)


def symbols(part: object) -> Iterator[Symbol]:
    """All symbols in a term, an equation or a tuple of them, those of indices too."""
    return (one for one in terms_in(part) if isinstance(one, Symbol))


def terms_in(part: object) -> Iterator[Term]:
    """All terms in a term, an equation or a tuple of them, those of indices too."""
    if isinstance(part, tuple):
        for item in part:
            yield from terms_in(item)
    elif isinstance(part, Term | Equation | Condition):
        if isinstance(part, Term):
            yield part
        for field in fields(part):
            yield from terms_in(getattr(part, field.name))
