"""What an optimizer iterates: the steps of `newton_schulz`."""

from __future__ import annotations

from nestdsl.vocabulary.terms import (
    Equation,
    Negative,
    Norm,
    Number,
    Ratio,
    Symbol,
    Term,
    Transpose,
    apply,
    before,
    plus,
    times,
)

_QUINTIC = (3.4445, -4.7750, 2.0315)
_SMALLEST_NORM = 1e-7


def newton_schulz(start: Term, x: Symbol, gram: Symbol, place: Symbol, steps: int) -> tuple[Equation, ...]:
    """The quintic iteration on a wide matrix [Nested Learning, Eq. 44 without its anchor]."""
    a, b, c = (Number(abs(one)) for one in _QUINTIC)
    last = x.at(before(place, 1))
    step = plus(
        times(a, last),
        Negative(times(b, gram.at(place), last)),
        times(c, gram.at(place), gram.at(place), last),
    )
    return (
        Equation(x.at(Number(0)), Ratio(start, apply("max", Norm(start), Number(_SMALLEST_NORM)))),
        Equation(x.at(place), step),
        Equation(gram.at(place), times(last, Transpose(last))),
        Equation(apply("newton_schulz", start), x.at(Number(steps))),
    )
