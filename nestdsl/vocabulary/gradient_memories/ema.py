"""`ema(decay)`: a moving average, m = decay m + (1 - decay) x."""

from nestdsl.vocabulary.gradient_memories.kind import MemoryKind, Move, Moved, Rate
from nestdsl.vocabulary.terms import ONE, minus, plus, times
from nestdsl.vocabulary.types import Range


def _equation(move: Move) -> Moved:
    decay, (x,) = move.rates["decay"], move.learned
    return Moved(((None, plus(times(decay, move.before), times(minus(ONE, decay), x))),))


EMA = MemoryKind(
    "ema",
    "m = decay m + (1 − decay) x",
    (Rate("decay", is_below=True, is_constant=True),),
    _equation,
    lambda rates: (
        "l2: half the squared distance to what it learns, by steps of ",
        minus(ONE, rates["decay"]),
    ),
    is_average=True,
    range=Range.SIGN_OF_FIRST,
    is_elementwise=True,
)
