"""`attention`: softmax attention over the keys and values read so far (Vaswani et al., 2017)."""

from nestdsl.vocabulary.arguments import HEADS, Arguments, Shapes, flag, whole
from nestdsl.vocabulary.types import Kind, Memory


def _pairs(arguments: Arguments) -> int:
    return int(arguments["pairs"] or 1)


def _reach(arguments: Arguments) -> int | None:
    """How many tokens attention looks at, at most; None: all."""
    reach = arguments["window"] or arguments["segment"]
    return None if reach is None else int(reach)


def _kept_context(arguments: Arguments, in_: int, out: int) -> Shapes:
    reach, pairs = _reach(arguments), _pairs(arguments)
    if reach is None:
        return ()
    return ("key", (reach - 1, pairs * in_)), ("value", (reach - 1, pairs * out))


def _persistent_pairs(arguments: Arguments, in_: int, out: int) -> Shapes:
    count = int(arguments["persistent"] or 0)
    return (("persistent_key", (count, in_)), ("persistent_value", (count, out))) if count else ()


def _flops(arguments: Arguments, in_: int, out: int) -> int:
    seen = (_reach(arguments) or 0) * _pairs(arguments) + int(arguments["persistent"] or 0)
    return 2 * (in_ + out) * seen


def _growth(arguments: Arguments, in_: int, out: int) -> tuple[int, int]:
    each = 0 if _reach(arguments) else _pairs(arguments) * (in_ + out)
    return each, 2 * each


ATTENTION = Kind(
    "attention",
    "the level that is recomputed at every token. It makes its own query, key, value and output projections, "
    "which are levels; or has `learn key -> value`, and is read with the query",
    (
        HEADS,
        whole("window", None),
        flag("rotary", True),
        flag("causal", True),
        flag("bias", False),
        whole("segment", None),
        whole("persistent", 0, minimum=0),
        whole("pairs", 1),
    ),
    parameters=_persistent_pairs,
    state=_kept_context,
    flops=_flops,
    grows=_growth,
    memory=Memory.SOLVED,
    is_causal=lambda a: bool(a["causal"]),
    alternatives=("window", "segment"),
    of_projections=("bias",),
    also_called=("MultiheadAttention", "MultiHeadAttention", "SelfAttention"),
)
