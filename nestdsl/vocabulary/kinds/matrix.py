"""`matrix`: one matrix for each head, from keys to values."""

from nestdsl.vocabulary.arguments import HEADS
from nestdsl.vocabulary.kinds.parts import W, X, of_heads
from nestdsl.vocabulary.starts import OF_MEMORIES, Beginning, of_inputs
from nestdsl.vocabulary.terms import Transpose, times
from nestdsl.vocabulary.types import Kind, Memory

MATRIX = Kind(
    "matrix",
    "one matrix for each head: a memory with `learn key -> value`, else an ordinary layer",
    (HEADS,),
    parameters=lambda a, in_, out: (("weight", of_heads(a, in_, out)),),
    state=lambda a, in_, out: (("matrix", of_heads(a, in_, out)),),
    flops=lambda a, in_, out: 8 * in_ * out // int(a["heads"] or 1),
    memory=Memory.MATRIX,
    begins=lambda a, role: (Beginning(role.weight(), OF_MEMORIES if role.learns_pairs else of_inputs(a)),),
    equation=lambda a, is_residual: times(Transpose(W), X),
)
