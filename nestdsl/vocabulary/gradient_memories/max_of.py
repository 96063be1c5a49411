"""`max_of(decay)`: a decaying maximum, m = max(decay m, x) (Kingma & Ba, 2015, Eq. 12: the u of AdaMax).

With `decay = 1` it is the maximum of all so far, as AMSGrad has it (Reddi et al., 2018, Algorithm 2).
"""

from nestdsl.vocabulary.gradient_memories.kind import MemoryKind, Move, Moved, Rate
from nestdsl.vocabulary.terms import apply, times
from nestdsl.vocabulary.types import Range


def _equation(move: Move) -> Moved:
    (x,) = move.learned
    return Moved(((None, apply("max", times(move.rates["decay"], move.before), x)),))


MAX_OF = MemoryKind(
    "max_of",
    "m = max(decay m, x), element by element, as in AdaMax; with `decay = 1` the largest so far, "
    "as in AMSGrad",
    (Rate("decay", is_constant=True),),
    _equation,
    lambda rates: ("the largest of what it learned; what it keeps decays by ", rates["decay"]),
    range=Range.NEVER_NEGATIVE,
    is_elementwise=True,
)
