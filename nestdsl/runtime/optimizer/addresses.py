"""Where the items of an elementwise stage are in memory, as kernels are told it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from torch import Tensor

from nestdsl.runtime.optimizer.groups import Tensors


def sizes_of(tensors: Sequence[Tensors], items: int) -> tuple[int, ...]:
    """How many elements each item has."""
    for one in tensors:
        if isinstance(one, list) and len(one) == items:
            return tuple([tensor.numel() for tensor in one])
    first = tensors[0]
    elements = first.numel() if isinstance(first, Tensor) else len(first) * first[0].numel()
    return (elements // items,) * items


def addresses_of(tensors: Sequence[Tensors], items: int) -> array[int]:
    """Where each item starts: of the first tensors, then of the second, and so on."""
    table = array("Q")
    for one in tensors:
        table.extend(_addresses(one, items))
    return table


def _addresses(tensors: Tensors, items: int) -> Sequence[int]:
    if isinstance(tensors, Tensor):
        return _steps(tensors, items)
    if len(tensors) == items:
        return [tensor.data_ptr() for tensor in tensors]
    return [address for tensor in tensors for address in _steps(tensor, items // len(tensors))]


def _steps(tensor: Tensor, items: int) -> range | list[int]:
    start, size = tensor.data_ptr(), tensor.numel() // items * tensor.element_size()
    return range(start, start + items * size, size) if size else [start] * items
