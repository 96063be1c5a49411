"""How the memories inside an optimizer move, and where they start.

Their state is a matrix [..., rows, columns] as the weight is, or two for a network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nestdsl.graph.optimizer import WEIGHT, GradientMemory, OptimizerProgram
from nestdsl.graph.optimizer_timing import timing

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
    is_tall = m.shape[-2] > m.shape[-1]
    seen = m @ (key.mT @ key) if is_tall else (m @ key.mT) @ key
    return retain * m - step * (seen - value * key)


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


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor that an optimizer keeps for each weight.

    shape: as lines say it, in terms of `out`, `in`, `1` and `hidden`; `start` is `zero` or `random`.
    """

    name: str
    shape: str
    hidden: int = 0
    start: str = "zero"


def gathered_names(memory: GradientMemory) -> tuple[str, ...]:
    """What gathers between the moves of a memory: what it learns, or keys and values."""
    if memory.period == 1:
        return ()
    if memory.kind in ("matrix", "associative"):
        return (f"{memory.name}.gathered", f"{memory.name}.gathered_value")
    return (f"{memory.name}.gathered",)


def state_names(memory: GradientMemory) -> tuple[str, ...]:
    """The state of a memory by its names: of a network those of both matrices."""
    if memory.kind == "associative":
        return (f"{memory.name}.inner", f"{memory.name}.outer")
    return (memory.name,)


def slots(program: OptimizerProgram) -> tuple[Slot, ...]:
    """All tensors that a program keeps for each weight: states, what gathers, and kept results."""
    shapes = {line.result: line.shape for line in program.lines if line.function != "learn"}
    learns = {line.result: line.operands for line in program.lines if line.function == "learn"}
    found: list[Slot] = []
    for memory in program.memories:
        if memory.kind == "associative":
            hidden = dict(memory.options)["hidden"]
            assert isinstance(hidden, int)
            inner, outer = state_names(memory)
            found += [Slot(inner, "hidden × in", hidden, "random"), Slot(outer, "in × hidden", hidden)]
        else:
            found.append(Slot(memory.name, memory.shape))
        for name, operand in zip(gathered_names(memory), learns[memory.name], strict=False):
            # Numbers gather as one for each weight.
            is_number = not isinstance(operand, str) or operand in timing(program).known
            shape = "1 × 1" if is_number else shapes.get(str(operand), WEIGHT)
            found.append(Slot(name, shape))
    return (*found, *(Slot(line.result, line.shape) for line in timing(program).kept))


def initial_state(
    program: OptimizerProgram, weight: Tensor, batch: int = 0, kind: torch.dtype | None = None
) -> dict[str, Tensor]:
    """What a program remembers of a weight [*batch, *shape] before its first update, in at least float32."""
    kind = kind or torch.promote_types(weight.dtype, torch.float32)
    return {slot.name: _initial(slot, weight, batch, kind) for slot in slots(program)}


def _initial(slot: Slot, weight: Tensor, batch: int, kind: torch.dtype) -> Tensor:
    if slot.shape == WEIGHT:
        return torch.zeros_like(weight, dtype=kind, memory_format=torch.contiguous_format).detach()
    shape = weight.shape
    rows = shape[-2] if len(shape) - batch > 1 else 1
    columns = shape[-1] if len(shape) - batch > 0 else 1
    front = shape[: max(batch, len(shape) - 2)]
    sizes = {"out": rows, "in": columns, "1": 1, "hidden": slot.hidden}
    left, _, right = slot.shape.partition(" × ")
    extents = (sizes[left], sizes[right]) if right else (1, 1)
    if slot.start == "zero":
        return weight.new_zeros((*front, *extents), dtype=kind).detach()
    # The same start for all weights of a shape: on the CPU, so that every device has the same.
    generator = torch.Generator().manual_seed(extents[0] * 1_000_003 + extents[1])
    start = torch.randn(extents, generator=generator, dtype=torch.float64) * extents[1] ** -0.5
    return start.to(weight.device, kind).expand(*front, *extents).clone()
