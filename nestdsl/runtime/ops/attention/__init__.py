"""Softmax attention of the tokens in reach: `naive` reads like the equation; `fast`, `appended` equal it."""

from nestdsl.runtime.ops.attention.appended import Room, attend_appended
from nestdsl.runtime.ops.attention.fast import Pairs, attend
from nestdsl.runtime.ops.attention.reach import Reach

__all__ = ["Pairs", "Reach", "Room", "attend", "attend_appended"]
