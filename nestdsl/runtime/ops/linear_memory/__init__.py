"""Linear memories: a matrix per head that learns keys and values token by token.

`naive` is the loop that reads like the equations; `learn` and `read`, from `chunked`, are the fast form.
"""

from nestdsl.runtime.ops.linear_memory.chunked import BLOCK, Trajectory, learn, read
from nestdsl.runtime.ops.linear_memory.rule import Gradient, Objective, Read, Rule, State, initial_state

__all__ = [
    "BLOCK",
    "Gradient",
    "Objective",
    "Read",
    "Rule",
    "State",
    "Trajectory",
    "initial_state",
    "learn",
    "read",
]
