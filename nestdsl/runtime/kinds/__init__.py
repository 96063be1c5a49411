"""The kinds of levels as modules. Each is built as `Class(input_size, output_size, **arguments)`."""

from nestdsl.runtime.kinds.associative import Associative, AssociativeLayer
from nestdsl.runtime.kinds.attention import Attention
from nestdsl.runtime.kinds.conv import Conv
from nestdsl.runtime.kinds.embedding import Embedding
from nestdsl.runtime.kinds.linear import Linear
from nestdsl.runtime.kinds.matrix import BlockLinear, Matrix
from nestdsl.runtime.kinds.mlp import Mlp
from nestdsl.runtime.kinds.norms import LayerNorm, RmsNorm
from nestdsl.runtime.kinds.side_by_side import SideBySide
from nestdsl.runtime.kinds.weights import Start

LAYERS: dict[str, type] = {
    "embedding": Embedding,
    "linear": Linear,
    "mlp": Mlp,
    "conv": Conv,
    "rms_norm": RmsNorm,
    "layer_norm": LayerNorm,
    "matrix": BlockLinear,
    "associative": AssociativeLayer,
}
"""Kinds that are read as a layer: `module(x)`, or `module(x, state)` where they keep state."""

MEMORIES: dict[str, type] = {"attention": Attention, "matrix": Matrix, "associative": Associative}
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
    "Matrix",
    "Mlp",
    "RmsNorm",
    "SideBySide",
    "Start",
]
