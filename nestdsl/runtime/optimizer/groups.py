"""Weights that one update moves together, with what is remembered of them.

Where each element of a weight moves for itself, those of one precision are one group whatever their
shapes. Otherwise it is matrices of one shape, and what is remembered of them lies stacked, so that one
product is of all. Weights and gradients stay where they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.runtime.optimizer.memories import initial_state

Tensors = list[Tensor] | Tensor
"""One tensor for each weight, or that of all: stacked, if there are several."""

_STACKED = 1 << 20
"""How many elements are stacked on a CPU, whose cache should hold what is computed on the way; up to four
times as many where there are threads that would have no matrix."""
_STACKED_ON_DEVICE = 1 << 24


@dataclass(slots=True, eq=False)
class Driven:
    """A weight with what its optimizer remembers of it: tensors by name, and how often it has moved."""

    weight: Tensor
    state: dict[str, Tensor] = field(default_factory=dict)
    step_count: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """Weights of one age that have gradients, and what is remembered of them. All are contiguous."""

    members: list[Driven]
    weights: list[Tensor]
    gradients: list[Tensor]
    state: dict[str, Tensors]

    @property
    def step_count(self) -> int:
        """The number of the update that moves them next."""
        return self.members[0].step_count + 1

    def done(self) -> None:
        """Counts the update, and gives weights that are not contiguous what was computed for them."""
        for one, weight in zip(self.members, self.weights, strict=True):
            one.step_count += 1
            if not one.weight.is_contiguous():
                one.weight.copy_(weight)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Weights that move together when all of one age have a gradient. `stacked`: their states, stacked."""

    members: list[Driven]
    stacked: dict[str, Tensor] | None = None

    def batches(self) -> Iterator[Batch]:
        """What moves now: those of one age together, or one by one where only some of a stack move."""
        alike: dict[tuple[int, torch.dtype], list[Driven]] = {}
        for one in self.members:
            gradient = one.weight.grad
            if gradient is not None:
                alike.setdefault((one.step_count, gradient.dtype), []).append(one)
        for members in alike.values():
            if self.stacked is None:
                names = members[0].state
                yield _batch(members, {name: [one.state[name] for one in members] for name in names})
            elif len(members) == len(self.members) > 1:
                yield _batch(members, dict(self.stacked))
            else:
                for one in members:
                    yield _batch([one], dict(one.state))


def _batch(members: list[Driven], state: dict[str, Tensors]) -> Batch:
    weights = [one.weight.detach().contiguous() for one in members]
    gradients = [one.weight.grad.contiguous() for one in members if one.weight.grad is not None]
    return Batch(members, weights, gradients, state)


def grouped(
    program: OptimizerProgram, weights: Sequence[Tensor], *, is_elementwise: bool
) -> tuple[list[Driven], list[Group]]:
    """All weights, in their order, before the first update, and the groups that they are in."""
    driven = [Driven(weight) for weight in weights]
    alike: dict[tuple[object, ...], list[Driven]] = {}
    for one in driven:
        shape = None if is_elementwise else one.weight.shape
        alike.setdefault((shape, one.weight.dtype, one.weight.device), []).append(one)
    groups = []
    for members in alike.values():
        if is_elementwise:
            for one in members:
                one.state = initial_state(program, one.weight)
            groups.append(Group(members))
        else:
            most = _most(members[0].weight)
            groups += [
                _stack(program, members[start : start + most]) for start in range(0, len(members), most)
            ]
    return driven, groups


def _most(weight: Tensor) -> int:
    """How many weights of this shape are stacked."""
    elements = max(1, weight.numel())
    if weight.device.type != "cpu":
        return max(1, _STACKED_ON_DEVICE // elements)
    return max(1, _STACKED // elements, min(torch.get_num_threads(), 4 * _STACKED // elements))


def _stack(program: OptimizerProgram, members: list[Driven]) -> Group:
    """A group, whose members' states are parts of its own."""
    weight = members[0].weight.detach()
    state = initial_state(program, weight.expand(len(members), *weight.shape), 1)
    for index, one in enumerate(members):
        one.state = {name: tensor[index] for name, tensor in state.items()}
    return Group(members, state)
