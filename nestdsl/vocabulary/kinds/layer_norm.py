"""`layer_norm`: removes the mean, divides by the deviation, scales and shifts (Ba et al., 2016)."""

from nestdsl.vocabulary.arguments import EPSILON, HEADS, Arguments
from nestdsl.vocabulary.kinds.parts import LOWER_W, B, X, normalized
from nestdsl.vocabulary.terms import Hadamard, Number, Power, Term, apply, minus, plus
from nestdsl.vocabulary.types import Kind


def _equation(arguments: Arguments, is_residual: bool) -> Term:
    centred = minus(X, apply("mean", X))
    return plus(Hadamard((LOWER_W, normalized(centred, Power(centred, Number(2)), arguments))), B)


LAYER_NORM = Kind(
    "layer_norm",
    "subtracts each head's mean, divides by its deviation, scales and shifts each feature",
    (HEADS, EPSILON),
    parameters=lambda a, in_, out: (("weight", (out,)), ("bias", (out,))),
    flops=lambda a, in_, out: 7 * out,
    is_norm=True,
    begins=lambda a, role: ("w = 1, b = 0",),
    fixed_start="a scale of 1",
    equation=_equation,
    also_called=("batch_norm", "BatchNorm1d"),
)
