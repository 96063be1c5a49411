"""Stages of whole matrices: products and sums over them, for all weights of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from nestdsl.runtime.optimizer.functions import FUNCTIONS, norm, rms_match_divisor, without_zero
from nestdsl.runtime.optimizer.gradient_memories import RULES
from nestdsl.runtime.optimizer.lines import Given, Operated, Step
from nestdsl.runtime.optimizer.values import Values


def run_whole(steps: tuple[Step, ...], values: Values, known: Mapping[Given, float]) -> None:
    """Carries out steps; `known` are the numbers from outside."""
    for step in steps:
        operands = [_operand(one, values, known) for one in step.operands]
        found = _FUNCTIONS[step.function](*operands, **dict(step.options))
        for name, part in zip(step.results, found if len(step.results) > 1 else (found,), strict=True):
            values.put(name, part if isinstance(part, Tensor) else float(part))


def _operand(operand: Operated, values: Values, known: Mapping[Given, float]) -> Tensor | float:
    match operand:
        case str():
            return values.operand(operand)
        case tuple():
            return known[operand]
        case _:
            return operand


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **FUNCTIONS,
    **{name: function for rule in RULES.values() for name, function in rule.functions.items()},
    "divisor of normalize": lambda x: without_zero(norm(x)),
    "divisor of rms_match": rms_match_divisor,
}
