"""Linear memories: a matrix per head that learns keys and values token by token.

`naive` is the loop that reads like the equations; `learn` and `read`, from `chunked`, are the fast form.
"""

from nestdsl.runtime.ops.linear_memory.chunked import BLOCK, Trajectory, learn, read
from nestdsl.runtime.ops.linear_memory.rule import LinearRule, initial_state
from nestdsl.runtime.ops.linear_memory.running import Running
from nestdsl.runtime.ops.memory_rule import Gradient, Objective, Optimizer, Read, State, Toward, detach_state

__all__ = [
    "BLOCK",
    "Gradient",
    "LinearRule",
    "Objective",
    "Optimizer",
    "Read",
    "Running",
    "State",
    "Toward",
    "Trajectory",
    "detach_state",
    "initial_state",
    "learn",
    "read",
]
