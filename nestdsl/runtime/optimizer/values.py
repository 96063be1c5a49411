"""What the stages of an update hand to one another."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.graph.optimizer_slots import Slot
from nestdsl.runtime.optimizer.functions import as_matrices
from nestdsl.runtime.optimizer.groups import Batch, Tensors
from nestdsl.vocabulary.shapes import Shape


class Values:
    """What the stages of one update have computed so far, for one batch, by name; computed in `kind`."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self.device = batch.weights[0].device
        self.kind = torch.promote_types(batch.weights[0].dtype, torch.float32)
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
            return torch.full((self.items,), value, dtype=self.kind, device=self.device)
        return value.to(self.kind).reshape(self.items).contiguous()

    def operand(self, name: str) -> Tensor | float:
        """All matrices of a name, [weights, ..., rows, columns], or [..., rows, columns] of one weight."""
        value = self._tensors[name]
        if isinstance(value, list):
            if name not in self._stacks:
                stack = torch.stack(value) if self._count > 1 else value[0]
                self._stacks[name] = as_matrices(stack.to(self.kind), self._count > 1)
            return self._stacks[name]
        return as_matrices(value, self._count > 1) if isinstance(value, Tensor) else value

    def room(self, name: str, shape: Shape) -> None:
        """Makes room for a result of an elementwise stage."""
        rows, columns = Slot(name, shape).extents(self._shape)
        front = self._shape[:-2] if self._count == 1 else (self._count, *self._shape[:-2])
        self._tensors[name] = torch.empty((*front, rows, columns), dtype=self.kind, device=self.device)

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
