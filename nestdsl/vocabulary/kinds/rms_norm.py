"""`rms_norm`: divides by the root mean square and scales each feature (Zhang & Sennrich, 2019)."""

from nestdsl.vocabulary.arguments import EPSILON, HEADS
from nestdsl.vocabulary.kinds.parts import LOWER_W, X, normalized
from nestdsl.vocabulary.terms import Hadamard, Number, Power
from nestdsl.vocabulary.types import Kind

RMS_NORM = Kind(
    "rms_norm",
    "divides each head by its root mean square, and scales each feature",
    (HEADS, EPSILON),
    parameters=lambda a, in_, out: (("weight", (out,)),),
    flops=lambda a, in_, out: 4 * out,
    is_norm=True,
    begins=lambda a, role: ("w = 1",),
    fixed_start="a scale of 1",
    equation=lambda a, is_residual: Hadamard((LOWER_W, normalized(X, Power(X, Number(2)), a))),
)
