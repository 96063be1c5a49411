"""The words of `init`: how the weights of a level may start, and the number that each takes.

`runtime/kinds/weights.py` draws them; `Kind.lacks_start` says which have no meaning for a kind.
"""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.vocabulary.arguments import Arguments, ArgumentSpec, Type, positive
from nestdsl.vocabulary.terms import ONE, Apply, Line, Negative, Number, Power, Ratio, Symbol, Term

LEARNED = "learned"
"""The kind's own start; and with a start in brackets, that the outer levels train that of a memory."""

STARTS: dict[str, ArgumentSpec | None] = {
    LEARNED: None,
    "zeros": None,
    "normal": positive("std", 0.02),
    "uniform": positive("bound"),
    "identity": None,
    "orthogonal": positive("gain", 1.0),
    "scaled": ArgumentSpec("factor", Type.NUMBER, minimum=0.0),
}
"""Each start with its number, if it takes one. `scaled` is the kind's own start times its factor."""

ALWAYS_TRAINED = (LEARNED, "scaled")
"""Starts that the outer levels train by their meaning, those of memories too."""

OF_THE_LAST = ("zeros", "identity", "scaled")
"""Starts that speak of what a level gives: of several layers they are the last one's, and the others start as
the kind has it. Two matrices of zeros would never learn: no gradient passes either."""

MEMORY_DEVIATION = 0.02
"""Of the learned start of a memory: small beside what is learned in context, and not zero, so that the
first token's query has a gradient."""


@dataclass(frozen=True, slots=True)
class Role:
    """What the start of a level depends on beside its arguments.

    letter: of its weights, on its page; learns_pairs: whether it learns `key -> value`;
    is_residual: whether it adds its input to its answer.
    """

    letter: str = "W"
    learns_pairs: bool = False
    is_residual: bool = False

    def weight(self, *index: Term) -> Symbol:
        """A weight as it starts: a memory's has the time 0."""
        return Symbol(self.letter).at(*index, *((Number(0),) if self.learns_pairs else ()))


@dataclass(frozen=True, slots=True)
class Beginning:
    """How one weight starts: its symbol and the distribution of `learned`.

    is_first: of two matrices the first, which words of `OF_THE_LAST` leave as it is; is_added: what it makes
    is added to the input, so that `identity` is zero here. identity: what that word means, if not I.
    """

    weight: Symbol
    learned: Term
    is_first: bool = False
    is_added: bool = False
    identity: Line = ()


Beginnings = tuple["Beginning | str", ...]
"""How the weights of a kind start; a text says what is the same for every word, such as `b = 0`."""

_INPUTS, _HEADS = Symbol("inputs"), Symbol("heads")


def normal(variance: Term) -> Term:
    """N(0, variance)."""
    return Apply(Symbol("N"), (Number(0), variance))


def uniform(bound: Term) -> Term:
    """U(-bound, bound)."""
    return Apply(Symbol("U"), (Negative(bound), bound))


def squared(number: Number) -> Term:
    return ONE if number.value == 1 else Power(number, Number(2))


def of_inputs(arguments: Arguments) -> Term:
    """N(0, 1 / inputs of a head), which keeps features of deviation 1 so."""
    return normal(Ratio(_HEADS if int(arguments.get("heads") or 1) > 1 else ONE, _INPUTS))


OF_MEMORIES = normal(squared(Number(MEMORY_DEVIATION)))
