"""The built-in functions of flows. `runtime/functions.py` implements them."""

from __future__ import annotations

import math

from nestdsl.vocabulary.arguments import EPSILON, HEADS, ArgumentSpec, Type, whole
from nestdsl.vocabulary.types import Function, Place, Range


def _sigmoid(x: float) -> float:
    # Of the two forms, the one whose exponential cannot overflow.
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


PRECISION, AUTO = "precision", "auto"
"""The argument of `newton_schulz` by which a program leaves the precision of its products to the machine."""
PRECISIONS = (AUTO, "bfloat16", "float32")


def _absolute(x: float) -> float:
    return abs(x)


def _same(x: float) -> float:
    return x


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _gelu(x: float) -> float:
    return x * 0.5 * math.erfc(-x / math.sqrt(2))


_PAIRED = (
    Function("max", "the larger of two", 2, fold=max, place=Place.OPTIMIZER),
    Function("min", "the smaller of two", 2, fold=min, place=Place.OPTIMIZER),
    Function(
        "clip",
        "a brought between -b and b, element by element",
        2,
        fold=lambda x, limit: min(max(x, -limit), limit),
        place=Place.OPTIMIZER,
        range=Range.SIGN_OF_FIRST,
    ),
)
_ONE_NUMBER = (
    Function(
        "norm",
        "the root of the sum of squares",
        fold=_absolute,
        place=Place.OPTIMIZER,
        range=Range.NEVER_NEGATIVE,
    ),
    Function(
        "rms",
        "the root of the mean of squares",
        fold=_absolute,
        place=Place.OPTIMIZER,
        range=Range.NEVER_NEGATIVE,
    ),
    Function(
        "mean", "the mean of the elements", fold=_same, place=Place.OPTIMIZER, range=Range.SIGN_OF_FIRST
    ),
    Function("trace", "the sum of the diagonal", fold=_same, place=Place.OPTIMIZER),
)
_OF_OPTIMIZERS = (
    ("rows", "how many rows; a vector is one", 1, (), Range.NEVER_NEGATIVE),
    ("columns", "how many columns", 1, (), Range.NEVER_NEGATIVE),
    ("normalize", "divided by its norm; zero stays zero", 1, (), Range.SIGN_OF_FIRST),
    (
        "rms_match",
        "scaled to the root mean square of Adam's updates",
        1,
        (ArgumentSpec("rms", Type.NUMBER, 0.2, minimum=0.0, exclusive=True),),
        Range.SIGN_OF_FIRST,
    ),
    ("outer", "a bᵀ; of one flow a aᵀ", None, (), Range.ANY),
    ("transpose", "rows for columns", 1, (), Range.SIGN_OF_FIRST),
    ("matmul", "the matrix product", 2, (), Range.ANY),
    (
        "newton_schulz",
        "the nearest orthogonal matrix, as Muon makes it; needs `only matrices`",
        1,
        (
            ArgumentSpec("steps", Type.WHOLE, 5, minimum=1, maximum=1000),
            ArgumentSpec(PRECISION, Type.STRING, AUTO, choices=PRECISIONS),
        ),
        Range.SIGN_OF_FIRST,
    ),
    (
        "debias",
        "an `ema` without its start at zero: divided by 1 − decay to the number of its moves",
        1,
        (),
        Range.SIGN_OF_FIRST,
    ),
)

FUNCTIONS = (
    Function(
        "l2_normalize",
        "divides by the Euclidean length",
        arguments=(HEADS, EPSILON),
        place=Place.MODEL,
    ),
    Function("silu", "x sigmoid(x)", fold=lambda x: x * _sigmoid(x)),
    Function("gelu", "x times the normal distribution function of x", fold=_gelu),
    Function("relu", "the positive part", fold=lambda x: max(x, 0), range=Range.NEVER_NEGATIVE),
    Function("sigmoid", "1 / (1 + exp(-x))", fold=_sigmoid, range=Range.NEVER_NEGATIVE),
    Function("softplus", "log(1 + exp(x))", fold=_softplus, range=Range.NEVER_NEGATIVE),
    Function("tanh", "the hyperbolic tangent", fold=math.tanh, range=Range.SIGN_OF_FIRST),
    Function("sqrt", "the square root", fold=math.sqrt, range=Range.NEVER_NEGATIVE),
    Function("exp", "the exponential", fold=math.exp, range=Range.NEVER_NEGATIVE),
    Function("abs", "the absolute value", fold=_absolute, range=Range.NEVER_NEGATIVE),
    Function("sign", "-1, 0 or 1", fold=lambda x: (x > 0) - (x < 0), range=Range.SIGN_OF_FIRST),
    Function(
        "soft_cap",
        "limit tanh(x / limit): between -limit and limit, and near zero x itself",
        arguments=(ArgumentSpec("limit", Type.NUMBER, minimum=0.0, exclusive=True),),
        fold=lambda x, limit: limit * math.tanh(x / limit),
        range=Range.SIGN_OF_FIRST,
    ),
    Function(
        "softmax",
        "positive, adding to 1 over the features",
        arguments=(HEADS,),
        place=Place.MODEL,
    ),
    Function("stop", "the same value; no gradient passes", fold=_same, range=Range.SIGN_OF_FIRST),
    Function(
        "concat",
        "flows side by side",
        flows=None,
        output_size=lambda sizes, arguments: sum(sizes),
        place=Place.MODEL,
    ),
    Function(
        "spread",
        "`size` evenly spaced numbers, from the first to the last, the same at every token",
        flows=0,
        arguments=(ArgumentSpec("first", Type.NUMBER), ArgumentSpec("last", Type.NUMBER), whole("size")),
        output_size=lambda sizes, arguments: int(arguments["size"] or 1),
        place=Place.MODEL,
    ),
    Function(
        "dropout",
        "zeroes a share of the features while training",
        arguments=(ArgumentSpec("rate", Type.NUMBER, 0.1, minimum=0.0, maximum=1.0),),
        place=Place.MODEL,
    ),
    *_PAIRED,
    *_ONE_NUMBER,
    *(
        Function(name, summary, flows, arguments, place=Place.OPTIMIZER, range=range)
        for name, summary, flows, arguments, range in _OF_OPTIMIZERS
    ),
)
