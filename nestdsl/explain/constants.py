"""Flows of numbers alone, which are the same at every token: `spread(first, last, size)`."""

from __future__ import annotations

from dataclasses import replace

from nestdsl.vocabulary.signatures import Arguments
from nestdsl.vocabulary.terms import (
    ONE,
    Apply,
    Equation,
    Negative,
    Number,
    Ratio,
    Symbol,
    Term,
    minus,
    plus,
    terms_in,
    times,
)

_SPREAD, _J = Symbol("spread"), Symbol("j")


def spread(options: Arguments) -> Term:
    """`spread(2, 6, 4)`."""
    numbers = [options[name] for name in ("first", "last", "size")]
    return Apply(_SPREAD, tuple(Number(one) for one in numbers if isinstance(one, int | float)))


def definitions(part: object) -> tuple[Equation, ...]:
    """What each spread is that stands in some terms, feature by feature: j counts from 1."""
    found = dict.fromkeys(one for one in terms_in(part) if isinstance(one, Apply) and one.function == _SPREAD)
    return tuple(_definition(one) for one in found)


def _definition(one: Apply) -> Equation:
    first, last, size = (number.value for number in one.arguments if isinstance(number, Number))
    left, start = replace(one, index=_J), _signed(first, Number(abs(first)))
    if size == 1 or first == last:
        return Equation(left, start)
    way = times(Number(abs(last - first)), minus(_J, ONE))
    step = _signed(last - first, Ratio(way, Number(size - 1)) if size > 2 else way)
    return Equation(left, plus(start, step) if first else step)


def _signed(sign: float, term: Term) -> Term:
    return Negative(term) if sign < 0 else term
