"""What an optimizer keeps for each weight before its first update."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.graph.optimizer_slots import Slot, slots
from nestdsl.vocabulary.shapes import WEIGHT

STEP_COUNT = "step_count"


def initial_state(
    program: OptimizerProgram, weight: Tensor, batch: int = 0, kind: torch.dtype | None = None
) -> dict[str, Tensor]:
    """What a program remembers of a weight [*batch, *shape] before its first update, in at least float32."""
    kind = kind or torch.promote_types(weight.dtype, torch.float32)
    return {slot.name: _initial(slot, weight, batch, kind) for slot in slots(program)}


def _initial(slot: Slot, weight: Tensor, batch: int, kind: torch.dtype) -> Tensor:
    if slot.shape == WEIGHT:
        return torch.zeros_like(weight, dtype=kind, memory_format=torch.contiguous_format).detach()
    shape = tuple(weight.shape)
    front = shape[: max(batch, len(shape) - 2)]
    extents = slot.extents(shape[batch:])
    if not slot.is_random:
        return weight.new_zeros((*front, *extents), dtype=kind).detach()
    # The same start for all weights of a shape: on the CPU, so that every device has the same.
    generator = torch.Generator().manual_seed(extents[0] * 1_000_003 + extents[1])
    start = torch.randn(extents, generator=generator, dtype=torch.float64) * extents[1] ** -0.5
    return start.to(weight.device, kind).expand(*front, *extents).clone()
