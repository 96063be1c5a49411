"""The direction in which a token moves the answer to its key."""

from __future__ import annotations

from torch import Tensor

from nestdsl.runtime.ops.linear_memory.rule import LinearRule

# |e| below it counts as it, so that |e|^{p-1} with p < 2 has a finite slope.
FLOOR = 1e-20


def direction(value: Tensor, answer: Tensor, rule: LinearRule) -> Tensor:
    """-∂L/∂answer for value and answer Sᵀ k, both [..., V]. Where the error is 0, "lp" has the slope 0."""
    match rule.objective:
        case "dot":
            return value
        case "l2":
            return value - answer
        case "lp":
            error = value - answer
            return error.sign() * error.abs().clamp_min(FLOOR).pow(rule.p - 1)
