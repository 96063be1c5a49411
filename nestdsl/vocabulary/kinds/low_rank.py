"""`low_rank`: a residual map of low rank, x + B A x (as LoRA adds to a layer; Hu et al., 2022, Eq. 3)."""

from nestdsl.vocabulary.arguments import whole
from nestdsl.vocabulary.kinds.parts import X
from nestdsl.vocabulary.starts import OF_MEMORIES, Beginning, of_inputs
from nestdsl.vocabulary.terms import Symbol, plus, times
from nestdsl.vocabulary.types import Kind

_A, _B = Symbol("A"), Symbol("B")

LOW_RANK = Kind(
    "low_rank",
    "x + B A x, with A of `rank` rows and B of `rank` columns; with `every N tokens` each sequence has its "
    "own A and B",
    (whole("rank"),),
    parameters=lambda a, in_, out: (
        ("down.weight", (int(a["rank"] or 1), in_)),
        ("up.weight", (out, int(a["rank"] or 1))),
    ),
    flops=lambda a, in_, out: 2 * int(a["rank"] or 1) * (in_ + out),
    begins=lambda a, role: (
        Beginning(_A, of_inputs(a), is_first=True),
        Beginning(_B, OF_MEMORIES, is_added=True),
    ),
    equation=lambda a, is_residual: plus(X, times(_B, _A, X)),
    also_called=("lora", "LoRA"),
)
