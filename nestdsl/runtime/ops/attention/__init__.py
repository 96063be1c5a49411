"""Softmax attention of the tokens in reach: `naive` reads like the equation, `fast` equals it."""

from nestdsl.runtime.ops.attention.fast import Pairs, attend
from nestdsl.runtime.ops.attention.reach import Reach

__all__ = ["Pairs", "Reach", "attend"]
