"""How levels start, as distributions of their weights: what `runtime/kinds` draws.

N(0, s²) is normal with deviation s, U(a, b) uniform between a and b; a number before one scales what is
drawn. Sizes are those of one head: `inputs` / `heads` features come in.
"""

from __future__ import annotations

from nestdsl.explain.terms import (
    IDENTITY,
    ONE,
    Apply,
    Line,
    Negative,
    Number,
    Power,
    Ratio,
    Root,
    Symbol,
    Term,
    Transpose,
    times,
)
from nestdsl.graph.nodes import Init, Learning, Level
from nestdsl.vocabulary.signatures import LIBRARY
from nestdsl.vocabulary.starts import LEARNED, MEMORY_DEVIATION, OF_THE_LAST

_W, _LOWER, _O, _ZERO = Symbol("W"), Symbol("w"), Symbol("O"), Number(0)
_INPUTS, _HIDDEN, _WIDTH, _HEADS = (Symbol(name) for name in ("inputs", "hidden", "width", "heads"))


def start(level: Level, has_residual: bool, trained_by: str, state: str = "W") -> Line:
    """What a level holds before anything has moved it; `trained_by` moves learned starts of memories.

    state: the letter of a memory's state in its equations.
    """
    is_memory = level.learning is Learning.ASSOCIATION
    by = f"learned by the outer levels ({trained_by}), from "
    if level.init.file:
        stored = f"{level.init.key} of {level.init.file}"
        return (by + stored if is_memory else stored,)
    if LIBRARY.kinds[level.kind].is_custom:
        return ("as its class draws it",)
    drawn = _weights(level, has_residual, state)
    if not is_memory:
        return drawn
    if level.init.trained:
        return (by, *drawn)
    if level.kind == "matrix" and level.init.kind in ("zeros", "identity"):
        return (*drawn, "; never trained")
    return ("drawn once: ", *drawn, "; never trained")


def _weights(level: Level, has_residual: bool, state: str) -> Line:
    """Each weight of a level with its distribution."""
    init, arguments = level.init, dict(level.arguments)
    is_memory = level.learning is Learning.ASSOCIATION
    fan_in = _one_over(_INPUTS, int(arguments.get("heads") or 1))
    bias = (", b = 0",) if arguments.get("bias") else ()
    at_start = (_ZERO,) if is_memory else ()
    match level.kind:
        case "embedding":
            found = _drawn(_W, init, _normal(ONE))
        case "linear":
            found = (*_drawn(_W, init, _normal(fan_in)), *bias)
        case "mlp":
            up, down = _W.at(Symbol("up")), _W.at(Symbol("down"))
            own = _normal(_one_over(_HIDDEN))
            found = (*_drawn(up, _first(init), _normal(fan_in)), ", ", *_drawn(down, init, own))
            found = (*found, *((", biases 0",) if bias else ()))
        case "conv" if init.kind == "identity":
            found = (_LOWER.at(_ZERO), " = 1, ", _LOWER.at(Symbol("j")), " = 0 for j > 0", *bias)
        case "conv":
            bound = Ratio(ONE, Root(_WIDTH))
            found = (*_drawn(_LOWER.at(Symbol("j")), init, _uniform(bound)), *bias)
        case "rms_norm":
            found = ("w = 1",)
        case "layer_norm":
            found = ("w = 1, b = 0",)
        case "matrix":
            own = _normal(_memory_variance() if is_memory else fan_in)
            found = _drawn(Symbol(state).at(*at_start), init, own)
        case _:  # two layers, z + W_1 σ(W_2 z)
            outer = _one_over(_HIDDEN) if not (is_memory or has_residual) else _memory_variance()
            inner, last = (Symbol(state).at(Number(part), *at_start) for part in (2, 1))
            of_last = Init("zeros") if init.kind == "identity" else init
            drawn = _drawn(last, of_last, _normal(outer))
            found = (*_drawn(inner, _first(init), _normal(fan_in)), ", ", *drawn)
    if init.kind == "orthogonal":
        columns, rows = times(Transpose(_O), _O), times(_O, Transpose(_O))
        unit = (" = ", IDENTITY)
        found = (*found, ", ", _O, " evenly drawn with ", columns, *unit, " or ", rows, *unit)
    return found


def _first(init: Init) -> Init:
    """Of the first of two matrices, as `runtime.kinds.weights.Start.of_first` says."""
    return Init() if init.kind in OF_THE_LAST else init


def _drawn(weight: Symbol, init: Init, own: Term) -> Line:
    """A weight with its start; `own` is the distribution that the kind itself has."""
    number = Number(1.0 if init.number is None else init.number)
    match init.kind:
        case "zeros":
            return (weight, " = 0")
        case "identity":
            return (weight, " = ", IDENTITY)
        case "normal":
            return (weight, " ∼ ", _normal(_squared(number)))
        case "uniform":
            return (weight, " ∼ ", _uniform(number))
        case "orthogonal":
            return (weight, " = ", times(number, _O))
        case "scaled":
            return (weight, " ∼ ", times(number, own))
    assert init.kind == LEARNED
    return (weight, " ∼ ", own)


def _normal(variance: Term) -> Term:
    return Apply(Symbol("N"), (_ZERO, variance))


def _uniform(bound: Term) -> Term:
    return Apply(Symbol("U"), (Negative(bound), bound))


def _squared(number: Number) -> Term:
    return ONE if number.value == 1 else Power(number, Number(2))


def _memory_variance() -> Term:
    return _squared(Number(MEMORY_DEVIATION))


def _one_over(size: Symbol, heads: int = 1) -> Term:
    return Ratio(_HEADS if heads > 1 else ONE, size)
