"""A memory that learns `key -> value`, with the program's own names for all that drives it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from nestdsl.vocabulary.terms import (
    IDENTITY,
    ONE,
    Equation,
    Floor,
    Norm,
    Number,
    Power,
    Ratio,
    S,
    Symbol,
    T,
    Term,
    Transpose,
    apply,
    before,
    mean,
    minus,
    plus,
    times,
)
from nestdsl.vocabulary.timing import ReadTime

Factor = Symbol | Number
"""A flow with one value for each token, or a number."""


@dataclass(frozen=True, slots=True)
class Association:
    """What the recurrence of one memory hangs on; `used` are the names that its flows have taken.

    `chunk` as the level says it; `peeked` is the name under which other flows read its anchor,
    or empty; `queries` are the flows it is read with elsewhere, each with the flow that this makes.
    """

    key: Symbol
    value: Symbol
    step: Factor
    retain: Factor
    momentum: Factor
    rule: str
    objective: str
    exponent: float
    toward_init: bool
    period: int
    chunk: int
    read: ReadTime
    queries: tuple[tuple[Symbol, Symbol], ...]
    peeked: Symbol | None = None
    retain_per_channel: bool = False
    forget_first: bool = False
    used: Collection[str] = ()

    @property
    def decays_along_key(self) -> bool:
        return self.rule in ("dgd", "dgd_momentum")

    @property
    def has_momentum(self) -> bool:
        return self.rule in ("momentum", "dgd_momentum")

    @property
    def anchor_tokens(self) -> int:
        """How far apart the anchors of gradients and reads are."""
        return self.period if self.period > 1 else self.chunk

    def letter(self, letter: str) -> Symbol:
        """A name for a state, or that letter doubled if a flow of the program has it."""
        return Symbol(letter * 2 if letter in self.used else letter)

    def anchor(self) -> Term:
        """The token after which a gradient of token t is taken, where it hangs on an anchor."""
        return anchor(self.anchor_tokens, self.anchor_tokens)

    def seen(self) -> Term:
        """The token after which a read at token t sees the state."""
        match self.read:
            case ReadTime.AFTER:
                return T
            case ReadTime.ANCHOR if self.period == 1:
                return anchor(self.chunk, self.chunk)
        return before(T, 1)

    def effective_step(self, index: Symbol) -> Term:
        """The step of a token: with the decay along the key, the exact one of [Nested Learning, Eq. 57]."""
        if not self.decays_along_key:
            return at(self.step, index)
        return self._exact_step().at(index)

    def step_equations(self) -> tuple[Equation, ...]:
        """step′ = step / (1 + step ‖k‖²) for either form of dgd."""
        if not self.decays_along_key:
            return ()
        step = at(self.step, T)
        below = plus(ONE, times(step, Power(Norm(self.key.at(T)), Number(2))))
        return (Equation(self._exact_step().at(T), Ratio(step, below)),)

    def averaged(self, factor: Factor) -> Term:
        """A factor at token t, or its mean over the period."""
        return at(factor, T) if self.period == 1 else over_period(factor, self.period)

    def gathered(self, term: Term) -> Term:
        """A term of one token (`self.moment`), or its mean over the period."""
        return term if self.period == 1 else mean(self.period, term)

    @property
    def moment(self) -> Symbol:
        """The index of what a token writes: t, or s inside the sum over a period."""
        return T if self.period == 1 else S

    def retention(self) -> tuple[Term, Term | None]:
        """What multiplies the last state, and the start, if it decays there."""
        retain = self.averaged(self.retain)
        one: Term = ONE
        if self.retain_per_channel:
            retain, one = apply("diag", retain), IDENTITY
        toward = minus(one, retain) if self.toward_init and retain != ONE else None
        if isinstance(toward, Term) and isinstance(retain, Number):
            toward = Number(round(1 - retain.value, 12))
        if not self.decays_along_key:
            return retain, toward
        key, moment = self.key.at(self.moment), self.moment
        decay = self.gathered(times(self.effective_step(moment), key, Transpose(key)))
        kept = retain if self.retain_per_channel else times(retain, IDENTITY)
        return minus(kept, decay), toward

    def _exact_step(self) -> Symbol:
        name = self.step.name if isinstance(self.step, Symbol) else "step"
        return Symbol(name, mark="prime")


def at(factor: Factor, index: Symbol) -> Term:
    return factor if isinstance(factor, Number) else factor.at(index)


def over_period(factor: Factor, period: int) -> Term:
    return factor if isinstance(factor, Number) else mean(period, factor.at(S))


def anchor(tokens: int, own_tokens: int) -> Term:
    """The last token before the chunk that token t is in: ξ, or t − 1 for chunks of one token.

    ξ with an index stands for chunks of another length than the level's own.
    """
    if tokens == 1:
        return before(T, 1)
    return Symbol("ξ") if tokens == own_tokens else Symbol("ξ", (Number(tokens),))


def anchor_definition(symbol: Symbol, own_tokens: int) -> Equation:
    """ξ = C ⌊(t − 1) / C⌋ [Nested Learning, Eq. 90], with the index corrected."""
    (tokens,) = symbol.index or (Number(own_tokens),)
    return Equation(symbol, times(tokens, Floor(Ratio(before(T, 1), tokens))))
