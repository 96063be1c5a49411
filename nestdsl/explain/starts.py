"""How levels start, as distributions of their weights: what `runtime/kinds` draws.

N(0, s²) is normal with deviation s, U(a, b) uniform between a and b; a number before one scales what is
drawn. Sizes are those of one head: `inputs` / `heads` features come in.
"""

from __future__ import annotations

from nestdsl.graph.nodes import Init, Learning, Level
from nestdsl.vocabulary.signatures import LIBRARY, Memory
from nestdsl.vocabulary.starts import LEARNED, OF_THE_LAST, Beginning, Role, normal, squared, uniform
from nestdsl.vocabulary.terms import IDENTITY, Line, Number, Symbol, Term, Transpose, times

_O = Symbol("O")


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
        return ("what its class draws",)
    drawn = _weights(level, has_residual, state)
    if not is_memory:
        return drawn
    if level.init.trained:
        return (by, *drawn)
    if LIBRARY.memory(level.kind) is Memory.MATRIX and level.init.kind in ("zeros", "identity"):
        return (*drawn, "; never trained")
    return ("drawn once: ", *drawn, "; never trained")


def _weights(level: Level, has_residual: bool, state: str) -> Line:
    """Each weight of a level with its distribution."""
    kind, init = LIBRARY.kinds[level.kind], level.init
    assert kind.begins is not None
    role = Role(state, level.learning is Learning.ASSOCIATION, has_residual)
    found: list[str | Term] = []
    for part in kind.begins(dict(level.arguments), role):
        found += [", "] * bool(found)
        found += [part] if isinstance(part, str) else _drawn(part, init)
    if init.kind == "orthogonal":
        columns, rows = times(Transpose(_O), _O), times(_O, Transpose(_O))
        unit = (" = ", IDENTITY)
        found += [", ", _O, " evenly drawn with ", columns, *unit, " or ", rows, *unit]
    return tuple(found)


def _drawn(part: Beginning, init: Init) -> Line:
    """A weight with its start, as `runtime.kinds.weights` draws it."""
    weight, word = part.weight, init.kind
    if part.is_first and word in OF_THE_LAST:
        word = LEARNED
    if part.is_added and word == "identity":
        word = "zeros"
    number = Number(1.0 if init.number is None else init.number)
    match word:
        case "zeros":
            return (weight, " = 0")
        case "identity":
            return part.identity or (weight, " = ", IDENTITY)
        case "normal":
            return (weight, " ∼ ", normal(squared(number)))
        case "uniform":
            return (weight, " ∼ ", uniform(number))
        case "orthogonal":
            return (weight, " = ", times(number, _O))
        case "scaled":
            return (weight, " ∼ ", times(number, part.learned))
    assert word == LEARNED
    return (weight, " ∼ ", part.learned)
