"""Softmax attention: the memory that is recomputed at every token, for each head."""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.vocabulary.signatures import Arguments
from nestdsl.vocabulary.terms import (
    Equation,
    Floor,
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
    before,
    minus,
    plus,
    times,
)

J, N, R = Symbol("j"), Symbol("n"), Symbol("r")
PERSISTENT_KEY, PERSISTENT_VALUE = Symbol("K"), Symbol("V")


@dataclass(frozen=True, slots=True)
class Reach:
    """What a query reads, and how: the arguments of `attention` of which the equations speak."""

    window: int | None = None
    rotary: bool = True
    segment: int | None = None
    persistent: int = 0
    pairs: int = 1

    @classmethod
    def of(cls, arguments: Arguments) -> Reach:
        def whole(name: str) -> int | None:
            found = arguments[name]
            return found if isinstance(found, int) else None

        return cls(
            whole("window"),
            bool(arguments["rotary"]),
            whole("segment"),
            whole("persistent") or 0,
            whole("pairs") or 1,
        )

    def tokens(self) -> str:
        """The tokens whose keys and values are kept, in words."""
        if self.segment is not None:
            return f"the tokens of its segment of {self.segment} so far"
        return "all tokens so far" if self.window is None else f"the last {self.window} tokens"

    def first(self) -> Term:
        """The first token that token t reads."""
        if self.segment is not None:
            if self.segment == 1:
                return T
            whole = Floor(Ratio(before(T, 1), Number(self.segment)))
            return plus(times(Number(self.segment), whole), Number(1))
        if self.window is None:
            return Number(1)
        return apply("max", Number(1), minus(T, Number(self.window - 1))) if self.window > 1 else T


def read(
    query: Symbol, result: Symbol, key: Symbol, value: Symbol, key_size: int, reach: Reach
) -> tuple[Equation, ...]:
    """y_t = Σ p_{t,s} v_s over the tokens in reach; key_size is that of one head."""
    shares, weights = Symbol("p"), Symbol("a")

    def of(token: Symbol) -> tuple[Symbol, ...]:
        """The indices of one pair."""
        return (token,) if reach.pairs == 1 else (token, J)

    def over(token: Symbol, term: Term) -> Term:
        """The sum over all pairs of all tokens in reach."""
        each = term if reach.pairs == 1 else Total(J, Number(1), Number(reach.pairs), term)
        return Total(token, reach.first(), T, each)

    asked, found = query.at(T), key.at(*of(S))
    if reach.rotary:
        turned = Symbol("R")
        asked, found = times(turned.at(T), asked), times(turned.at(S), found)
    total: Term = over(R, weights.at(T, *of(R)))
    answer: Term = over(S, times(shares.at(T, *of(S)), value.at(*of(S))))
    lasting: tuple[Equation, ...] = ()
    if reach.persistent:
        alike, share, last = Symbol("b"), Symbol("c"), Number(reach.persistent)
        total = plus(total, Total(N, Number(1), last, alike.at(T, N)))
        answer = plus(answer, Total(N, Number(1), last, times(share.at(T, N), PERSISTENT_VALUE.at(N))))
        lasting = (
            Equation(alike.at(T, N), _fit(query.at(T), PERSISTENT_KEY.at(N), key_size)),
            Equation(share.at(T, N), Ratio(alike.at(T, N), total)),
        )
    return (
        Equation(weights.at(T, *of(S)), _fit(asked, found, key_size)),
        *lasting[:1],
        Equation(shares.at(T, *of(S)), Ratio(weights.at(T, *of(S)), total)),
        *lasting[1:],
        Equation(result.at(T), answer),
    )


def _fit(query: Term, key: Term, key_size: int) -> Term:
    return apply("exp", Ratio(times(Transpose(query), key), Root(Number(key_size))))
