"""The built-in kinds of levels, a file each. `runtime/kinds/` has a module of torch for each."""

from nestdsl.vocabulary.kinds.associative import ASSOCIATIVE
from nestdsl.vocabulary.kinds.attention import ATTENTION
from nestdsl.vocabulary.kinds.conv import CONV
from nestdsl.vocabulary.kinds.embedding import EMBEDDING
from nestdsl.vocabulary.kinds.layer_norm import LAYER_NORM
from nestdsl.vocabulary.kinds.linear import LINEAR
from nestdsl.vocabulary.kinds.low_rank import LOW_RANK
from nestdsl.vocabulary.kinds.matrix import MATRIX
from nestdsl.vocabulary.kinds.mlp import MLP
from nestdsl.vocabulary.kinds.rms_norm import RMS_NORM
from nestdsl.vocabulary.types import Kind

KINDS: tuple[Kind, ...] = (
    EMBEDDING,
    LINEAR,
    MLP,
    LOW_RANK,
    CONV,
    RMS_NORM,
    LAYER_NORM,
    ATTENTION,
    MATRIX,
    ASSOCIATIVE,
)
