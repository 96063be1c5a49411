"""`linear`: a matrix and a bias."""

from nestdsl.vocabulary.arguments import flag, whole
from nestdsl.vocabulary.kinds.parts import B, W, X, affine, biased
from nestdsl.vocabulary.starts import Beginning, of_inputs
from nestdsl.vocabulary.types import Kind

LINEAR = Kind(
    "linear",
    "a matrix and a bias; `out` is the input's size if left out",
    (whole("out", None), flag("bias", True)),
    output_size=lambda a, size: size if a["out"] is None else int(a["out"]),
    parameters=lambda a, in_, out: biased("", out, in_, a),
    flops=lambda a, in_, out: 2 * in_ * out,
    begins=lambda a, role: (Beginning(W, of_inputs(a)), *(("b = 0",) if a.get("bias") else ())),
    equation=lambda a, is_residual: affine(W, X, B, a),
    also_called=("Dense",),
    takes_input_size=True,
)
