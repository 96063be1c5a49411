"""`sum_of(decay)`: a decaying sum, m = decay m + x (momentum as Polyak, 1964, has it)."""

from collections.abc import Mapping

from nestdsl.vocabulary.gradient_memories.kind import MemoryKind, Move, Moved, Rate
from nestdsl.vocabulary.terms import ONE, Line, Number, Term, plus, times
from nestdsl.vocabulary.types import Range


def _equation(move: Move) -> Moved:
    decay, (x,) = move.rates["decay"], move.learned
    return Moved(((None, x if decay == Number(0) else plus(times(decay, move.before), x)),))


def _objective(rates: Mapping[str, Term]) -> Line:
    decay = rates["decay"]
    kept = "dot: minus the inner product with what it learns [Nested Learning, Eq. 34]"
    return (kept, "; it retains ", decay) if decay != ONE else (kept,)


SUM_OF = MemoryKind(
    "sum_of",
    "m = decay m + x; with `decay = 0` what it learned last: read `before`, that of the update before; "
    "else it keeps nothing",
    (Rate("decay", is_constant=True),),
    _equation,
    _objective,
    range=Range.SIGN_OF_FIRST,
    is_elementwise=True,
    nothing_kept=("decay", 0),
)
