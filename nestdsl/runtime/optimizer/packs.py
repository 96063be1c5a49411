"""Weights side by side, so that one call moves them all.

A pack holds what an optimizer remembers of its weights in one tensor for each name, end to end or, if
it matters where an element stands, stacked. The weights and gradients stay where they are: they are
copied together for the moment of the update. Large weights are in no pack.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.runtime.optimizer.functions import as_matrices
from nestdsl.runtime.optimizer.memories import initial_state

_SMALL = 1 << 16
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
    """Weights that move together. `state` is that of all of them; each one's own are views of it."""

    members: list[Driven]
    state: dict[str, Tensor]
    is_flat: bool

    def is_whole(self) -> bool:
        """Whether all members can move together now."""
        first = self.members[0]
        return all(
            one.step_count == first.step_count
            and one.weight.grad is not None
            and one.weight.grad.dtype == one.weight.dtype
            for one in self.members
        )

    def gathered(self) -> tuple[Tensor, Tensor]:
        """Copies of the weights and of their gradients, side by side."""
        weights = [one.weight for one in self.members]
        gradients = [one.weight.grad for one in self.members if one.weight.grad is not None]
        if self.is_flat:
            return (
                torch.cat([weight.reshape(-1) for weight in weights]),
                torch.cat([gradient.reshape(-1) for gradient in gradients]),
            )
        return as_matrices(torch.stack(weights), 1), as_matrices(torch.stack(gradients), 1)

    def scatter(self, weights: Tensor) -> None:
        """Gives the members their weights out of moved copies."""
        targets = [one.weight for one in self.members]
        if self.is_flat:
            parts = weights.split([target.numel() for target in targets])
            sources = [part.view(target.shape) for part, target in zip(parts, targets, strict=True)]
        else:
            sources = list(weights.view(len(targets), *targets[0].shape).unbind())
        torch._foreach_copy_(targets, sources)  # type: ignore[reportPrivateImportUsage]


def packed(
    program: OptimizerProgram, weights: Sequence[Tensor], *, is_elementwise: bool
) -> tuple[list[Driven], list[Pack]]:
    """All weights, in their order, before the first update, and the packs that small ones are in."""
    driven = [Driven(weight) for weight in weights]
    packs = [_pack(program, members, is_elementwise) for members in _packs(driven, is_elementwise)]
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
            if sum(other.weight.numel() for other in members) + one.weight.numel() > _PACK:
                yield members
                members = []
            members.append(one)
        if len(members) > 1:
            yield members


def _pack(program: OptimizerProgram, members: list[Driven], is_flat: bool) -> Pack:
    # `members` may be one: then its state is a pack of one.
    weights = [one.weight.detach() for one in members]
    if is_flat:
        state = initial_state(program, torch.cat([weight.reshape(-1) for weight in weights]))
        sizes = [weight.numel() for weight in weights]
        parts = {name: tensor.split(sizes) for name, tensor in state.items()}
        for index, one in enumerate(members):
            one.state = {name: part[index].view(one.weight.shape) for name, part in parts.items()}
    else:
        state = initial_state(program, torch.stack(weights), 1)
        for index, one in enumerate(members):
            one.state = {name: tensor[index] for name, tensor in state.items()}
    return Pack(
        members, state if is_flat else {name: as_matrices(part, 1) for name, part in state.items()}, is_flat
    )
