"""Softmax attention: the memory that is solved anew at every token, for each head."""

from __future__ import annotations

from nestdsl.explain.terms import (
    Equation,
    Number,
    Ratio,
    Root,
    S,
    Symbol,
    T,
    Term,
    Total,
    Transpose,
    apply,
    minus,
    times,
)


def read(
    query: Symbol, result: Symbol, key: Symbol, value: Symbol, key_size: int, window: int | None, rotary: bool
) -> tuple[Equation, ...]:
    """y_t = Σ p_{t,s} v_s over the tokens in reach; key_size is that of one head."""
    first: Term = Number(1)
    if window is not None:
        first = apply("max", Number(1), minus(T, Number(window - 1))) if window > 1 else T
    r, shares = Symbol("r"), Symbol("p")
    asked, found = query.at(T), key.at(S)
    if rotary:
        turned = Symbol("R")
        asked, found = times(turned.at(T), asked), times(turned.at(S), found)
    fit = apply("exp", Ratio(times(Transpose(asked), found), Root(Number(key_size))))
    total = Total(r, first, T, Symbol("a").at(T, r))
    return (
        Equation(Symbol("a").at(T, S), fit),
        Equation(shares.at(T, S), Ratio(Symbol("a").at(T, S), total)),
        Equation(result.at(T), Total(S, first, T, times(shares.at(T, S), value.at(S)))),
    )
