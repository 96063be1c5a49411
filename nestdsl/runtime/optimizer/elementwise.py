"""Elementwise stages, operation by operation: what a kernel does, as torch does it.

A kernel moves `items`: all weights, or all matrices of them where a stage takes a number of each matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from nestdsl.runtime.optimizer.functions import FUNCTIONS
from nestdsl.runtime.optimizer.groups import Tensors
from nestdsl.runtime.optimizer.stages import Elementwise

_CHUNK = 1 << 17
"""How many elements move at a time: what is computed on the way stays small."""


class Kernel(Protocol):
    """Carries out an elementwise stage in place."""

    def __call__(
        self, tensors: Sequence[Tensors], numbers: Sequence[Tensor], given: Sequence[float], items: int
    ) -> None:
        """One update.

        tensors: in the order of `Elementwise.tensors`, contiguous; numbers: one for each item; given: the
        numbers from outside in their order.
        """
        ...


class EagerKernel:
    """A stage operation by operation. Computes in `kind`."""

    def __init__(self, stage: Elementwise, kind: torch.dtype) -> None:
        self._stage, self._kind = stage, kind

    def __call__(
        self, tensors: Sequence[Tensors], numbers: Sequence[Tensor], given: Sequence[float], items: int
    ) -> None:
        stage = self._stage
        known: dict[Any, Any] = dict(zip(stage.given, given, strict=True))
        flat = [_items(one, items) for one in tensors]
        of_items = [number.reshape(items).unbind() for number in numbers]
        for item in range(items):
            known |= {name: number[item] for name, number in zip(stage.numbers, of_items, strict=True)}
            parts = [one[item].split(_CHUNK) for one in flat]
            for pieces in zip(*parts, strict=True):
                self._run(dict(zip(stage.tensors, pieces, strict=True)), known)

    def _run(self, pieces: dict[str, Tensor], known: dict[Any, Any]) -> None:
        values: dict[Any, Any] = {name: pieces[name].to(self._kind) for name in self._stage.reads}
        values |= known
        for step in self._stage.steps:
            operands = [values.get(operand, operand) for operand in step.operands]
            values[step.results[0]] = FUNCTIONS[step.function](*operands, **dict(step.options))
        for where, name in self._stage.stores:
            pieces[where].copy_(values[name])


def _items(tensors: Tensors, items: int) -> Sequence[Tensor]:
    """The part of each item, flat."""
    if isinstance(tensors, Tensor):
        return tensors.view(items, -1).unbind()
    each = items // len(tensors)
    return [part for tensor in tensors for part in tensor.view(each, -1).unbind()]
