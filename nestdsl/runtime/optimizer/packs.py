"""Weights side by side, so that one call moves them all.

A pack holds what an optimizer remembers of its weights in one tensor for each name, end to end or, if
it matters where an element stands, stacked. The weights and gradients stay where they are: they are
copied together for the moment of the update, into room that all packs share. Large weights are in no pack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.runtime.optimizer.functions import as_matrices
from nestdsl.runtime.optimizer.memories import initial_state

_SMALL = 1 << 15
"""Up to how many elements a weight is copied to be moved with others."""
_PACK = 1 << 18
"""How many elements a pack has at most: all that an update touches should stay in a processor's cache."""


@dataclass(slots=True, eq=False)
class Driven:
    """A weight with what its optimizer remembers of it: tensors by name, and how often it has moved."""

    weight: Tensor
    state: dict[str, Tensor] = field(default_factory=dict)
    step_count: int = 0


@dataclass(slots=True, eq=False)
class Pack:
    """Weights that move together.

    state: that of all of them; each one's own are views of it. `weights` and `gradients` are room for
    copies of theirs side by side, which all packs share; the `places` are each one's views of it.
    """

    members: list[Driven]
    state: dict[str, Tensor]
    weights: Tensor
    gradients: Tensor
    weight_places: list[Tensor]
    gradient_places: list[Tensor]

    def gather(self) -> bool:
        """Copies weights and gradients side by side; False if not all members can move together now."""
        step_count = self.members[0].step_count
        gradients = [one.weight.grad for one in self.members if one.step_count == step_count]
        there = [gradient for gradient in gradients if gradient is not None]
        if len(there) < len(self.members):
            return False
        _copy(self.weight_places, [one.weight for one in self.members])
        _copy(self.gradient_places, there)
        return True

    def scatter(self) -> None:
        """Gives the members their weights, when the copies have moved, and counts it."""
        _copy([one.weight for one in self.members], self.weight_places)
        for one in self.members:
            one.step_count += 1


def packed(
    program: OptimizerProgram, weights: Sequence[Tensor], *, is_elementwise: bool
) -> tuple[list[Driven], list[Pack]]:
    """All weights, in their order, before the first update, and the packs that small ones are in."""
    driven = [Driven(weight) for weight in weights]
    rooms: dict[tuple[torch.dtype, torch.device], tuple[Tensor, Tensor]] = {}
    packs = []
    # The largest one first: it says how much room all need, and for how many threads graphs are compiled.
    for members in sorted(_packs(driven, is_elementwise), key=_numbers, reverse=True):
        first = members[0].weight
        room = rooms.setdefault((first.dtype, first.device), (_room(members), _room(members)))
        packs.append(_pack(program, members, is_elementwise, *room))
    for one in driven:
        if not one.state:
            one.state = initial_state(program, one.weight)
    return driven, packs


def _packs(driven: Sequence[Driven], is_elementwise: bool) -> Iterator[list[Driven]]:
    groups: dict[tuple[object, ...], list[Driven]] = {}
    for one in driven:
        if one.weight.numel() <= _SMALL:
            shape = None if is_elementwise else one.weight.shape
            groups.setdefault((shape, one.weight.dtype, one.weight.device), []).append(one)
    for group in groups.values():
        members: list[Driven] = []
        for one in group:
            if _numbers([*members, one]) > _PACK:
                yield members
                members = []
            members.append(one)
        if len(members) > 1:
            yield members


def _numbers(members: Sequence[Driven]) -> int:
    return sum(one.weight.numel() for one in members)


def _room(members: Sequence[Driven]) -> Tensor:
    return members[0].weight.detach().new_empty(_numbers(members))


def _pack(
    program: OptimizerProgram, members: list[Driven], is_flat: bool, weights: Tensor, gradients: Tensor
) -> Pack:
    """A pack, whose members' states become views of its own."""
    sizes = [one.weight.numel() for one in members]
    weights, gradients = weights[: sum(sizes)], gradients[: sum(sizes)]
    places = [
        [part.view(one.weight.shape) for part, one in zip(room.split(sizes), members, strict=True)]
        for room in (weights, gradients)
    ]
    if is_flat:
        state = initial_state(program, weights)
        parts = {name: tensor.split(sizes) for name, tensor in state.items()}
        for index, one in enumerate(members):
            one.state = {name: part[index].view(one.weight.shape) for name, part in parts.items()}
        return Pack(members, state, weights, gradients, *places)
    stack = (len(members), *members[0].weight.shape)
    weights, gradients = weights.view(stack), gradients.view(stack)
    state = initial_state(program, weights, 1)
    for index, one in enumerate(members):
        one.state = {name: tensor[index] for name, tensor in state.items()}
    state = {name: as_matrices(tensor, 1) for name, tensor in state.items()}
    return Pack(members, state, as_matrices(weights, 1), as_matrices(gradients, 1), *places)


def _copy(targets: list[Tensor], sources: list[Tensor]) -> None:
    torch._foreach_copy_(targets, sources)  # type: ignore[reportPrivateImportUsage]
