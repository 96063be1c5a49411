"""How the memories inside an optimizer move, and where they start.

Their state is a matrix [..., rows, columns] as the weight is, or two for a network.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.graph.optimizer import WEIGHT, OptimizerProgram
from nestdsl.graph.optimizer_slots import Slot, slots

Number = Tensor | float
Network = tuple[Tensor, Tensor]
"""W2 [..., hidden, columns] and W1 [..., columns, hidden] of N(u) = u + W1 silu(W2 u)."""

STEP_COUNT = "step_count"


def ema(m: Tensor, x: Tensor, decay: Number, rest: Number) -> Tensor:
    """m = decay m + (1 - decay) x. `rest` is 1 - decay, which has lost no digits."""
    return decay * m + rest * x


def sum_of(m: Tensor, x: Tensor, decay: Number) -> Tensor:
    """m = decay m + x."""
    return decay * m + x


def matrix(m: Tensor, key: Tensor, value: Number, step: Number, retain: Number) -> Tensor:
    """m = retain m - step (m keyᵀ - value) key, where a number means so many times the identity."""
    if isinstance(value, Tensor) and value.ndim and value.shape[-2:] != (1, 1):
        return retain * m - step * ((m @ key.mT - value) @ key)
    return retain * m - step * (seen(m, key) - value * key)


def seen(m: Tensor, key: Tensor) -> Tensor:
    """m keyᵀ key, by the shorter way."""
    is_tall = m.shape[-2] > m.shape[-1]
    return m @ (key.mT @ key) if is_tall else (m @ key.mT) @ key


def network(parts: Network, u: Tensor) -> Tensor:
    """N(u) = u + W1 silu(W2 u) of each row of u."""
    inner, outer = parts
    return u + torch.nn.functional.silu(u @ inner.mT) @ outer.mT


def learned(parts: Network, key: Tensor, value: Tensor, step: Number, retain: Number) -> Network:
    """W = retain W - step ∂/∂W ½ mean over rows of ‖N(key) - value‖², of both matrices."""
    inner, outer = parts
    z = key @ inner.mT
    gate = torch.sigmoid(z)
    hidden = z * gate
    error = (key + hidden @ outer.mT - value) / key.shape[-2]
    back = (error @ outer) * (gate + hidden * (1 - gate))
    return retain * inner - step * (back.mT @ key), retain * outer - step * (error.mT @ hidden)


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
    if slot.start == "zero":
        return weight.new_zeros((*front, *extents), dtype=kind).detach()
    # The same start for all weights of a shape: on the CPU, so that every device has the same.
    generator = torch.Generator().manual_seed(extents[0] * 1_000_003 + extents[1])
    start = torch.randn(extents, generator=generator, dtype=torch.float64) * extents[1] ** -0.5
    return start.to(weight.device, kind).expand(*front, *extents).clone()
