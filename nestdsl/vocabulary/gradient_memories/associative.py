"""`associative(hidden, step, retain)`: a network N(u) = u + W1 silu(W2 u) of the rows of a key.

It starts as the identity, and moves by the gradient of half the squared error of its answers.
"""

from nestdsl.vocabulary.arguments import whole
from nestdsl.vocabulary.gradient_memories.kind import MemoryKind, Move, Moved, Part, Rate
from nestdsl.vocabulary.shapes import WEIGHT, MatrixShape
from nestdsl.vocabulary.terms import (
    Apply,
    Equation,
    Hadamard,
    Number,
    Ratio,
    Symbol,
    Term,
    Transpose,
    apply,
    minus,
    plus,
    times,
)

_SLOPE = Symbol("silu", mark="prime")
_OUTER, _INNER, _KEYS = Number(1), Number(2), Symbol("x")


def _answer(state: Symbol, at: Term) -> Equation:
    """`m_i(x) = x + silu(x m_{2,i}ᵀ) m_{1,i}ᵀ`, for the rows of x."""
    hidden = apply("silu", times(_KEYS, Transpose(state.at(_INNER, at))))
    return Equation(
        Apply(state.at(at), (_KEYS,)), plus(_KEYS, times(hidden, Transpose(state.at(_OUTER, at))))
    )


def _equation(move: Move) -> Moved:
    """A step of gradient descent on ½ mean over rows of ‖m(key) − value‖², for both matrices at once."""
    (key, value), error = move.learned, move.error.at(move.index)
    outer, inner = move.state.at(_OUTER, move.last), move.state.at(_INNER, move.last)
    z = times(key, Transpose(inner))
    back = Hadamard((times(error, outer), Apply(_SLOPE, (z,))))
    step, retain = move.rates["step"], move.rates["retain"]
    return Moved(
        (
            (_OUTER, minus(times(retain, outer), times(step, Transpose(error), apply("silu", z)))),
            (_INNER, minus(times(retain, inner), times(step, Transpose(back), key))),
        ),
        (Equation(error, Ratio(minus(Apply(move.before, (key,)), value), apply("rows", key))),),
    )


ASSOCIATIVE = MemoryKind(
    "associative",
    "learns `key -> value` row by row: a network u + W1 silu(W2 u), which starts as the identity and moves "
    "by the gradient of half the squared error, the mean over rows",
    (Rate("step", 1.0, most=2.0), Rate("retain", 1.0)),
    _equation,
    lambda rates: (
        "l2: half the squared error of its answers to the rows of its key, a mean over rows "
        "[Nested Learning, Eq. 50]",
    ),
    options=(whole("hidden", 16),),
    parts=(
        Part("inner", MatrixShape("hidden", "in"), is_random=True),
        Part("outer", MatrixShape("in", "hidden")),
    ),
    values=(WEIGHT,),
    answer=WEIGHT,
    is_network=True,
    example="{flow} -> normalize({flow})",
    of_value="one of the shape of the weight",
    made_of=lambda name, options: f"{name}_2 hidden × in, {name}_1 in × hidden, hidden = {options['hidden']}",
    answered=_answer,
)
