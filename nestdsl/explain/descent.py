"""When weights move, the gradient they move by, and gradient descent in context.

The same for weights that move once in N steps and for those of each sequence that move once in N
tokens [Nested Learning, Eq. 71]: `Clock` says what is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.vocabulary.terms import (
    ONE,
    Condition,
    Equation,
    Gradient,
    Number,
    Ratio,
    S,
    Symbol,
    Term,
    Total,
    before,
    minus,
    times,
)

W, G = Symbol("W"), Symbol("G")
STEP = Symbol("i")


@dataclass(frozen=True, slots=True)
class Clock:
    """Updates come once in `period` of `index`: optimizer steps i, or tokens t."""

    index: Symbol
    period: int

    @property
    def last(self) -> Term:
        return before(self.index, self.period)

    def equation(self, symbol: Symbol, right: Term) -> Equation:
        """`symbol` moves when the clock says so, and stands still otherwise."""
        return self._moves(symbol, (), right)

    def layer(self, symbol: Symbol, layer: Term, right: Term) -> Equation:
        """The same for one of several matrices of `symbol`."""
        return self._moves(symbol, (layer,), right)

    def _moves(self, symbol: Symbol, index: tuple[Term, ...], right: Term) -> Equation:
        condition = None
        if self.period > 1:
            still = symbol.at(*index, before(self.index, 1))
            condition = Condition(self.period, self.index, still)
        return Equation(symbol.at(*index, self.index), right, condition)


def gradient(
    clock: Clock, objective: str, takes_mean: bool, weight: Symbol = W, symbol: Symbol = G
) -> Equation:
    """G: the mean (or the sum) of the gradients that have gathered since the last update [Nested Learning,
    Eq. 71]."""
    loss = Symbol(objective)
    if clock.period == 1:
        return Equation(symbol.at(clock.index), Gradient(loss.at(clock.index), weight))
    place = Symbol("j") if clock.index == STEP else S
    first = before(clock.index, clock.period - 1)
    total = Total(place, first, clock.index, Gradient(loss.at(place), weight))
    scale = Ratio(ONE, Number(clock.period)) if takes_mean else ONE
    return Equation(symbol.at(clock.index), times(scale, total))


def gradient_descent(clock: Clock, step: float, retain: float) -> Equation:
    """`W_t = retain W_{t−N} − step G_t`: the `gd` of levels that learn from surprise in context."""
    kept = times(Number(retain), W.at(clock.last))
    return clock.equation(W, minus(kept, times(Number(step), G.at(clock.index))))
