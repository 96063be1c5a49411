"""Stages of whole matrices: products and sums over them, for all weights of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from nestdsl.runtime.optimizer import memories as rules
from nestdsl.runtime.optimizer.functions import FUNCTIONS, norm, rms_match_divisor, without_zero
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


def _answer(state: Tensor, key: Tensor) -> Tensor:
    return state @ key.mT


def _error(state: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return state @ key.mT - value


def _network(inner: Tensor, outer: Tensor, key: Tensor) -> Tensor:
    return rules.network((inner, outer), key)


def _learned(
    inner: Tensor, outer: Tensor, key: Tensor, value: Tensor, step: Any, retain: Any
) -> tuple[Tensor, Tensor]:
    return rules.learned((inner, outer), key, value, step, retain)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **FUNCTIONS,
    "answer": _answer,
    "error": _error,
    "seen": rules.seen,
    "network": _network,
    "learned": _learned,
    "divisor of normalize": lambda x: without_zero(norm(x)),
    "divisor of rms_match": rms_match_divisor,
}
