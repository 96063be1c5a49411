"""Stages of whole matrices: products and sums over them, for all weights of a batch at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from nestdsl.graph.optimizer_slots import Slot
from nestdsl.runtime.optimizer import memories as rules
from nestdsl.runtime.optimizer.functions import FUNCTIONS, as_matrices, norm, rms_match_divisor, without_zero
from nestdsl.runtime.optimizer.groups import Batch, Tensors
from nestdsl.runtime.optimizer.lines import Given, Operated, Step


class Values:
    """What the stages of one update have computed so far, for one batch, by name."""

    def __init__(self, batch: Batch, kind: torch.dtype) -> None:
        self._batch, self._kind = batch, kind
        self._shape = tuple(batch.weights[0].shape)
        self._count = len(batch.weights)
        self._stacks: dict[str, Tensor] = {}
        self._tensors: dict[str, Tensors | float] = {"grad": batch.gradients, "weight": batch.weights}
        self._tensors |= {f"@{name}": tensors for name, tensors in batch.state.items()}

    @property
    def items(self) -> int:
        """How many matrices all weights are."""
        return self._count * torch.Size(self._shape[:-2]).numel()

    def tensors(self, name: str) -> Tensors:
        """What a kernel reads or writes: contiguous."""
        value = self._tensors[name]
        if isinstance(value, list):
            return value
        assert isinstance(value, Tensor)
        return value.contiguous()

    def numbers(self, name: str) -> Tensor:
        """One number for each matrix."""
        value = self._tensors[name]
        if not isinstance(value, Tensor):
            assert isinstance(value, float)
            return torch.full((self.items,), value, dtype=self._kind, device=self._batch.weights[0].device)
        return value.to(self._kind).reshape(self.items).contiguous()

    def operand(self, name: str) -> Tensor | float:
        """All matrices of a name, [weights, ..., rows, columns], or [..., rows, columns] of one weight."""
        value = self._tensors[name]
        if isinstance(value, list):
            if name not in self._stacks:
                stack = torch.stack(value) if self._count > 1 else value[0]
                self._stacks[name] = as_matrices(stack.to(self._kind), self._count > 1)
            return self._stacks[name]
        return as_matrices(value, self._count > 1) if isinstance(value, Tensor) else value

    def room(self, name: str, shape: str) -> None:
        """Makes room for a result of an elementwise stage."""
        rows, columns = Slot(name, shape).extents(self._shape)
        front = self._shape[:-2] if self._count == 1 else (self._count, *self._shape[:-2])
        self._tensors[name] = torch.empty(
            (*front, rows, columns), dtype=self._kind, device=self._batch.weights[0].device
        )

    def put(self, name: str, value: Tensor | float) -> None:
        """Takes up a result."""
        self._tensors[name] = value

    def stored(self, name: str, where: str) -> None:
        """A result has been written to a state, or to the weights, and is to be read there."""
        self._tensors[name] = self._batch.weights if where == "weight" else self._batch.state[where[1:]]

    def copy(self, where: str, name: str) -> None:
        """Copies a result to its place."""
        value = self._tensors[name]
        if where != "weight":
            place = self._batch.state[where[1:]]
            assert isinstance(place, Tensor)
            place.copy_(value.reshape(place.shape) if isinstance(value, Tensor) else torch.tensor(value))
            return
        assert isinstance(value, Tensor)
        parts = value.unbind() if self._count > 1 else [value]
        for weight, part in zip(self._batch.weights, parts, strict=True):
            weight.copy_(part.reshape(weight.shape))


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


def _zero(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **FUNCTIONS,
    "zero": _zero,
    "answer": _answer,
    "error": _error,
    "seen": rules.seen,
    "network": _network,
    "learned": _learned,
    "divisor of normalize": lambda x: without_zero(norm(x)),
    "divisor of rms_match": rms_match_divisor,
}
