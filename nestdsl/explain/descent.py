"""How optimizers move the weights W of levels that learn from surprise, and their own memories m and v.

The same rules for weights that move once in N steps and for those of each sequence that move once
in N tokens [E71]: `Clock` says what is counted. The bias corrections count updates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nestdsl.explain.terms import (
    ONE,
    Condition,
    Equation,
    Gradient,
    Hadamard,
    Negative,
    Number,
    Power,
    Ratio,
    Root,
    S,
    Symbol,
    Term,
    Total,
    apply,
    before,
    minus,
    plus,
    times,
)
from nestdsl.library.signatures import Value

W, G, M, V = Symbol("W"), Symbol("G"), Symbol("m"), Symbol("v")
STEP = Symbol("i")
ADAMW_OF_MUON = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


@dataclass(frozen=True, slots=True)
class Clock:
    """Updates come once in `period` of `index`: optimizer steps i, or tokens t."""

    index: Symbol
    period: int

    @property
    def last(self) -> Term:
        return before(self.index, self.period)

    @property
    def count(self) -> Term:
        """How many updates there have been."""
        return self.index if self.period == 1 else Ratio(self.index, Number(self.period))

    def equation(self, symbol: Symbol, right: Term) -> Equation:
        """`symbol` moves when the clock says so, and stands still otherwise."""
        condition = None
        if self.period > 1:
            condition = Condition(self.period, self.index, symbol.at(before(self.index, 1)))
        return Equation(symbol.at(self.index), right, condition)


def gradient(clock: Clock, objective: str, takes_mean: bool) -> Equation:
    """G: the mean (or the sum) of the gradients that have gathered since the last update [E71]."""
    loss = Symbol(objective)
    if clock.period == 1:
        return Equation(G.at(clock.index), Gradient(loss.at(clock.index), W))
    place = Symbol("j") if clock.index == STEP else S
    first = before(clock.index, clock.period - 1)
    total = Total(place, first, clock.index, Gradient(loss.at(place), W))
    scale = Ratio(ONE, Number(clock.period)) if takes_mean else ONE
    return Equation(G.at(clock.index), times(scale, total))


def update(
    optimizer: str, arguments: Mapping[str, Value], clock: Clock, is_matrix: bool
) -> tuple[Equation, ...]:
    """The weights after an update; Muon moves matrices, and leaves other weights to AdamW.

    An optimizer that is not of the library is shown as a function of the gradient and the weights.
    """
    last, g = W.at(clock.last), G.at(clock.index)
    rate, decay = Symbol("lr"), _decay(arguments, last)
    match optimizer:
        case "gd":
            step, retain = _number(arguments, "step"), _number(arguments, "retain")
            return (clock.equation(W, minus(times(retain, last), times(step, g))),)
        case "sgd":
            change = M.at(clock.index) if arguments["momentum"] else plus(g, *decay)
            return (clock.equation(W, minus(last, times(rate, change))),)
        case "muon" if is_matrix:
            scale = Root(apply("max", ONE, Ratio(Symbol("rows"), Symbol("columns"))))
            momentum, m = Symbol("momentum"), M.at(clock.index)
            direction = apply("newton_schulz", plus(times(momentum, m), times(minus(ONE, momentum), g)))
            change = plus(times(scale, direction), *decay)
            return (clock.equation(W, minus(last, times(rate, change))),)
        case "adamw" | "muon":
            rate = Symbol("adamw_lr") if optimizer == "muon" else rate
        case _:
            return (clock.equation(W, plus(last, apply(optimizer, g, last))),)
    m, v = Symbol("m", (clock.index,), "hat"), Symbol("v", (clock.index,), "hat")
    change = plus(Ratio(m, plus(Root(v), Symbol("eps"))), *decay)
    return (clock.equation(W, minus(last, times(rate, change))),)


def memories(
    optimizer: str, arguments: Mapping[str, Value], clock: Clock, is_matrix: bool
) -> tuple[Equation, ...]:
    """The optimizer's own memories of the gradient; they begin at 0."""
    g = G.at(clock.index)
    match optimizer:
        case "gd":
            return ()
        case "sgd":
            if not arguments["momentum"]:
                return ()
            moved = plus(times(Symbol("momentum"), M.at(clock.last)), g, *_decay(arguments, W.at(clock.last)))
            return (clock.equation(M, moved),)
        case "muon" if is_matrix:
            return (clock.equation(M, _average(Symbol("momentum"), M.at(clock.last), g)),)
        case "adamw" | "muon":
            pass
        case _:
            return ()
    first, second = Symbol("beta1"), Symbol("beta2")
    return (
        clock.equation(M, _average(first, M.at(clock.last), g)),
        clock.equation(V, _average(second, V.at(clock.last), Hadamard((g, g)))),
        _debiased("m", first, clock),
        _debiased("v", second, clock),
    )


def _average(share: Symbol, last: Term, new: Term) -> Term:
    return plus(times(share, last), times(minus(ONE, share), new))


def _debiased(name: str, share: Symbol, clock: Clock) -> Equation:
    below = plus(ONE, Negative(Power(share, clock.count)))
    return Equation(Symbol(name, (clock.index,), "hat"), Ratio(Symbol(name).at(clock.index), below))


def _decay(arguments: Mapping[str, Value], last: Term) -> tuple[Term, ...]:
    return (times(Symbol("decay"), last),) if arguments.get("decay") else ()


def _number(arguments: Mapping[str, Value], name: str) -> Number:
    value = arguments[name]
    assert isinstance(value, int | float)
    return Number(value)
