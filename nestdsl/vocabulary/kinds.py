"""The built-in kinds of levels. `runtime/kinds/` implements them."""

from __future__ import annotations

from nestdsl.vocabulary.starts import LEARNED, STARTS
from nestdsl.vocabulary.types import (
    REQUIRED,
    Arguments,
    ArgumentSpec,
    Kind,
    Required,
    Shapes,
    Takes,
    Type,
    Value,
    count,
)


def whole(name: str, default: Value | Required = REQUIRED, minimum: int = 1) -> ArgumentSpec:
    return ArgumentSpec(name, Type.WHOLE, default, minimum=minimum)


def _flag(name: str, default: bool) -> ArgumentSpec:
    return ArgumentSpec(name, Type.BOOLEAN, default)


def _biased(name: str, out: int, in_: int, arguments: Arguments) -> Shapes:
    weight = (f"{name}weight", (out, in_))
    return (weight, (f"{name}bias", (out,))) if arguments["bias"] else (weight,)


def _hidden(arguments: Arguments, in_: int) -> int:
    hidden = arguments["hidden"]
    if hidden is not None:
        return int(hidden)
    return max(1, round(float(arguments["expand"] or 4) * in_))


def _mlp_parameters(arguments: Arguments, in_: int, out: int) -> Shapes:
    hidden = _hidden(arguments, in_)
    return _biased("up.", hidden, in_, arguments) + _biased("down.", out, hidden, arguments)


def _matrix_shape(arguments: Arguments, in_: int, out: int) -> tuple[int, int, int]:
    heads = int(arguments["heads"] or 1)
    return heads, in_ // heads, out // heads


def _two_layers(arguments: Arguments, in_: int, out: int) -> Shapes:
    heads, key, value = _matrix_shape(arguments, in_, out)
    hidden = int(arguments["hidden"] or key)
    return ("inner", (heads, key, hidden)), ("outer", (heads, hidden, value))


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


def _attention_flops(arguments: Arguments, in_: int, out: int) -> int:
    seen = (_reach(arguments) or 0) * _pairs(arguments) + int(arguments["persistent"] or 0)
    return 2 * (in_ + out) * seen


def _attention_growth(arguments: Arguments, in_: int, out: int) -> tuple[int, int]:
    each = 0 if _reach(arguments) else _pairs(arguments) * (in_ + out)
    return each, 2 * each


EPSILON = ArgumentSpec("eps", Type.NUMBER, 1e-6, minimum=0.0, exclusive=True)
_ACTIVATIONS = ("gelu", "silu", "relu", "tanh")
_STARTS = tuple(word for word in STARTS if word != LEARNED)
_NO_IDENTITY = tuple(word for word in _STARTS if word != "identity")

KINDS = (
    Kind(
        "embedding",
        "a table of one vector for each id",
        (whole("dim"),),
        takes=Takes.IDS,
        output_size=lambda a, size: int(a["dim"] or 0),
        parameters=lambda a, in_, out: (("weight", (in_, out)),),
        starts=_NO_IDENTITY,
    ),
    Kind(
        "linear",
        "a matrix and a bias",
        (whole("out", None), _flag("bias", True)),
        output_size=lambda a, size: size if a["out"] is None else int(a["out"]),
        parameters=lambda a, in_, out: _biased("", out, in_, a),
        flops=lambda a, in_, out: 2 * in_ * out,
        starts=_STARTS,
    ),
    Kind(
        "mlp",
        "two matrices with an activation between",
        (
            ArgumentSpec("expand", Type.NUMBER, None, minimum=0.0, maximum=1e6, exclusive=True),
            whole("hidden", None),
            ArgumentSpec("activation", Type.STRING, "gelu", choices=_ACTIVATIONS),
            _flag("bias", True),
        ),
        parameters=_mlp_parameters,
        alternatives=("expand", "hidden"),
        flops=lambda a, in_, out: 2 * _hidden(a, in_) * (in_ + out),
        starts=_NO_IDENTITY,
    ),
    Kind(
        "conv",
        "a causal convolution of each feature by itself over the last tokens",
        (whole("width"), _flag("bias", True)),
        parameters=lambda a, in_, out: (
            (("weight", (out, int(a["width"] or 1))), ("bias", (out,)))
            if a["bias"]
            else (("weight", (out, int(a["width"] or 1))),)
        ),
        state=lambda a, in_, out: (("inputs", (int(a["width"] or 1) - 1, in_)),),
        flops=lambda a, in_, out: 2 * int(a["width"] or 1) * out,
        starts=tuple(word for word in _STARTS if word != "orthogonal"),
    ),
    Kind(
        "rms_norm",
        "divides by the root mean square and scales each feature",
        (whole("heads", 1), EPSILON),
        parameters=lambda a, in_, out: (("weight", (out,)),),
        flops=lambda a, in_, out: 4 * out,
    ),
    Kind(
        "layer_norm",
        "removes the mean, divides by the deviation, scales and shifts each feature",
        (whole("heads", 1), EPSILON),
        parameters=lambda a, in_, out: (("weight", (out,)), ("bias", (out,))),
        flops=lambda a, in_, out: 7 * out,
    ),
    Kind(
        "attention",
        "softmax attention, causal: the memory that is solved anew at every token",
        (
            whole("heads", 1),
            whole("window", None),
            _flag("rotary", True),
            _flag("causal", True),
            _flag("bias", False),
            whole("segment", None),
            whole("persistent", 0, minimum=0),
            whole("pairs", 1),
        ),
        parameters=_persistent_pairs,
        state=_kept_context,
        flops=_attention_flops,
        grows=_attention_growth,
        is_memory=True,
        is_nonparametric=True,
        is_causal=lambda a: bool(a["causal"]),
        alternatives=("window", "segment"),
    ),
    Kind(
        "matrix",
        "one matrix for each head, from keys to values",
        (whole("heads", 1),),
        parameters=lambda a, in_, out: (("weight", _matrix_shape(a, in_, out)),),
        state=lambda a, in_, out: (("matrix", _matrix_shape(a, in_, out)),),
        flops=lambda a, in_, out: 8 * in_ * out // int(a["heads"] or 1),
        is_memory=True,
        starts=_STARTS,
    ),
    Kind(
        "associative",
        "a residual two-layer memory for each head [E91]",
        (
            whole("heads", 1),
            whole("hidden", None),
            ArgumentSpec("activation", Type.STRING, "gelu", choices=_ACTIVATIONS),
        ),
        parameters=_two_layers,
        state=_two_layers,
        flops=lambda a, in_, out: 10 * count(_two_layers(a, in_, out)),
        is_memory=True,
        starts=_STARTS,
    ),
)
