"""The kinds of levels as modules, built as `Class(input_size, output_size, **arguments)`.

Beside `kind`, its name, a class may say `keeps_precision`: it computes in its input's precision where that is
higher than its weights'; and `is_one_product`: it is one product of matrices, which alone gains nothing from
being compiled.
"""

from nestdsl.runtime.kinds.associative import Associative, AssociativeLayer
from nestdsl.runtime.kinds.attention import Attention
from nestdsl.runtime.kinds.conv import Conv
from nestdsl.runtime.kinds.embedding import Embedding
from nestdsl.runtime.kinds.layer_norm import LayerNorm
from nestdsl.runtime.kinds.linear import Linear
from nestdsl.runtime.kinds.low_rank import LowRank
from nestdsl.runtime.kinds.matrix import BlockLinear, Matrix
from nestdsl.runtime.kinds.mlp import Mlp
from nestdsl.runtime.kinds.rms_norm import RmsNorm
from nestdsl.runtime.kinds.side_by_side import SideBySide
from nestdsl.runtime.kinds.weights import Start

_LAYERS = (Embedding, Linear, Mlp, LowRank, Conv, RmsNorm, LayerNorm, BlockLinear, AssociativeLayer)
_MEMORIES = (Attention, Matrix, Associative)

LAYERS: dict[str, type] = {module.kind: module for module in _LAYERS}
"""Kinds that are read as a layer: `module(x)`, or `module(x, state)` where they keep state."""

MEMORIES: dict[str, type] = {module.kind: module for module in _MEMORIES}
"""Kinds that learn `key -> value` in context: `learn(key, value, state, ...)`, `read(context, query)`."""

__all__ = [
    "LAYERS",
    "MEMORIES",
    "Associative",
    "AssociativeLayer",
    "Attention",
    "BlockLinear",
    "Conv",
    "Embedding",
    "LayerNorm",
    "Linear",
    "LowRank",
    "Matrix",
    "Mlp",
    "RmsNorm",
    "SideBySide",
    "Start",
]
