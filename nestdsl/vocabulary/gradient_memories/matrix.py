"""`matrix(step, retain)`: a delta rule over the rows of a key, m = retain m - step (m keyᵀ - value) key."""

from nestdsl.vocabulary.gradient_memories.kind import MemoryKind, Move, Moved, Rate
from nestdsl.vocabulary.shapes import CONSTANT, NUMBER, SQUARE
from nestdsl.vocabulary.terms import IDENTITY, Transpose, minus, times


def _equation(move: Move) -> Moved:
    key, value = move.learned
    wanted = times(value, IDENTITY) if move.is_number else value
    error = minus(times(move.before, Transpose(key)), wanted)
    return Moved(
        ((None, minus(times(move.rates["retain"], move.before), times(move.rates["step"], error, key))),)
    )


MATRIX = MemoryKind(
    "matrix",
    "learns `key -> value`: m = retain m − step (m keyᵀ − value) key, of the weight's own shape. The value "
    "is `out × out`, or a number, which means so many times the identity",
    (Rate("step", 1.0, most=2.0), Rate("retain", 1.0)),
    _equation,
    lambda rates: (
        "l2: half the squared error of its answers to the rows of its key [Nested Learning, Eq. 48]",
    ),
    values=(CONSTANT, NUMBER, SQUARE),
    answer=SQUARE,
    example="normalize({flow}) -> 1",
    of_value="learns a value `out × out` (a number means so many times the identity)",
)
