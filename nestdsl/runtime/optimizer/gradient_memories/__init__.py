"""How the memories of gradients move, a file each. `vocabulary/gradient_memories/` declares them."""

from nestdsl.runtime.optimizer.gradient_memories.associative import ASSOCIATIVE
from nestdsl.runtime.optimizer.gradient_memories.ema import EMA
from nestdsl.runtime.optimizer.gradient_memories.matrix import MATRIX
from nestdsl.runtime.optimizer.gradient_memories.max_of import MAX_OF
from nestdsl.runtime.optimizer.gradient_memories.rule import Form, Given, Operated, Rule
from nestdsl.runtime.optimizer.gradient_memories.sum_of import SUM_OF

_RULES = (EMA, SUM_OF, MAX_OF, MATRIX, ASSOCIATIVE)
RULES: dict[str, Rule] = {rule.kind: rule for rule in _RULES}

__all__ = ["RULES", "Form", "Given", "Operated", "Rule"]
