"""How levels start, in words, as `runtime/kinds` draws them."""

from __future__ import annotations

from nestdsl.graph.nodes import Learning, Level
from nestdsl.library.signatures import INITS, LIBRARY

_DRAWN = {
    "embedding": "normal with deviation 1",
    "linear": "normal with deviation 1 / √inputs, biases 0",
    "mlp": "normal with deviation 1 / √inputs of each matrix, biases 0",
    "conv": "uniform within ±1 / √width, biases 0",
    "rms_norm": "weights 1",
    "layer_norm": "weights 1, biases 0",
    "matrix": "normal with deviation 1 / √(inputs of a head)",
}


def start(level: Level, has_residual: bool, trained_by: str) -> str:
    """What a level holds before anything has moved it; `trained_by` moves learned starts of memories."""
    is_memory = level.learning is Learning.ASSOCIATION
    if level.init.file:
        stored = f"{level.init.key} of {level.init.file}"
        return f"learned by the outer levels ({trained_by}), from {stored}" if is_memory else stored
    if level.init.kind not in INITS:
        return level.init.kind
    if LIBRARY.kinds[level.kind].is_custom:
        return "as its kind says" if level.init.kind == "learned" else level.init.kind
    drawn = _two_layers(level, has_residual) if level.kind == "associative" else _one(level, is_memory)
    if not is_memory:
        return drawn
    match level.init.kind:
        case "learned":
            return f"learned by the outer levels ({trained_by}), from {drawn}"
        case "normal":
            return f"drawn once, {drawn}; never trained"
    return drawn


def _one(level: Level, is_memory: bool) -> str:
    match level.init.kind:
        case "zeros":
            return "zeros"
        case "normal":
            return f"normal with deviation {level.init.std:g}"
    if is_memory:
        return f"normal with deviation {level.init.std:g}"
    return _DRAWN[level.kind]


def _two_layers(level: Level, has_residual: bool) -> str:
    inner = "W_2 normal with deviation 1 / √(inputs of a head)"
    match level.init.kind:
        case "zeros":
            return f"{inner}, W_1 zeros"
        case "normal":
            return f"normal with deviation {level.init.std:g}"
    is_plain = level.learning is not Learning.ASSOCIATION and not has_residual
    outer = "1 / √hidden" if is_plain else f"{level.init.std:g}"
    return f"{inner}, W_1 with deviation {outer}"
