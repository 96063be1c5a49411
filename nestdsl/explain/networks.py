"""What an optimizer's program is made of beyond arithmetic: networks as memories, and what it iterates."""

from __future__ import annotations

from nestdsl.explain.descent import Clock
from nestdsl.vocabulary.terms import (
    Apply,
    Equation,
    Hadamard,
    Negative,
    Norm,
    Number,
    Ratio,
    Symbol,
    Term,
    Transpose,
    apply,
    before,
    minus,
    plus,
    times,
)

_QUINTIC = (3.4445, -4.7750, 2.0315)
_SMALLEST_NORM = 1e-7
_SLOPE = Symbol("silu", mark="prime")
_OUTER, _INNER, _KEYS = Number(1), Number(2), Symbol("x")


def answer(state: Symbol, at: Term) -> Equation:
    """`m_i(x) = x + silu(x m_{2,i}ᵀ) m_{1,i}ᵀ`, for the rows of x."""
    hidden = apply("silu", times(_KEYS, Transpose(state.at(_INNER, at))))
    return Equation(
        Apply(state.at(at), (_KEYS,)), plus(_KEYS, times(hidden, Transpose(state.at(_OUTER, at))))
    )


def learned(
    state: Symbol, clock: Clock, error: Symbol, key: Term, value: Term, step: Term, retain: Term
) -> tuple[Equation, ...]:
    """A step of gradient descent on ½ mean over rows of ‖m(key) − value‖², for both matrices at once."""
    index, last = clock.index, clock.last
    outer, inner = state.at(_OUTER, last), state.at(_INNER, last)
    z = times(key, Transpose(inner))
    back = Hadamard((times(error.at(index), outer), Apply(_SLOPE, (z,))))
    moved = {
        _OUTER: times(step, Transpose(error.at(index)), apply("silu", z)),
        _INNER: times(step, Transpose(back), key),
    }
    wrong = minus(Apply(state.at(last), (key,)), value)
    return (
        *(
            clock.layer(state, layer, minus(times(retain, state.at(layer, last)), change))
            for layer, change in moved.items()
        ),
        Equation(error.at(index), Ratio(wrong, apply("rows", key))),
    )


def newton_schulz(start: Term, x: Symbol, gram: Symbol, place: Symbol, steps: int) -> tuple[Equation, ...]:
    """The quintic iteration on a wide matrix [E44 without its anchor]."""
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
