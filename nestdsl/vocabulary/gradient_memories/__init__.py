"""The memories of gradients that an optimizer can have, a file each. Theirs of torch stand in
`runtime/optimizer/gradient_memories/`."""

from nestdsl.vocabulary.gradient_memories.associative import ASSOCIATIVE
from nestdsl.vocabulary.gradient_memories.ema import EMA
from nestdsl.vocabulary.gradient_memories.kind import MemoryKind, Move, Moved, Part, Rate
from nestdsl.vocabulary.gradient_memories.matrix import MATRIX
from nestdsl.vocabulary.gradient_memories.max_of import MAX_OF
from nestdsl.vocabulary.gradient_memories.sum_of import SUM_OF

GRADIENT_MEMORIES: tuple[MemoryKind, ...] = (EMA, SUM_OF, MAX_OF, MATRIX, ASSOCIATIVE)
MEMORY_KINDS = {kind.name: kind for kind in GRADIENT_MEMORIES}

__all__ = ["GRADIENT_MEMORIES", "MEMORY_KINDS", "MemoryKind", "Move", "Moved", "Part", "Rate"]
