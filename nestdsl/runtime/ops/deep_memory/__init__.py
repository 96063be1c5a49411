"""Two-layer memories: a residual perceptron per head that learns keys and values token by token.

`naive` is the loop that reads like the equations; `learn` and `read`, from `chunked`, are the fast form.
"""

from nestdsl.runtime.ops.deep_memory.chunked import Trajectory, learn, read
from nestdsl.runtime.ops.deep_memory.rule import Activation, DeepRule, initial_state
from nestdsl.runtime.ops.memory_rule import Objective, Optimizer, State, Toward, detach_state

__all__ = [
    "Activation",
    "DeepRule",
    "Objective",
    "Optimizer",
    "State",
    "Toward",
    "Trajectory",
    "detach_state",
    "initial_state",
    "learn",
    "read",
]
