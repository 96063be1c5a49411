"""Whether a model fits into memory, judged from its plan before anything is allocated."""

from __future__ import annotations

import os

import torch

from nestdsl.diagnostics import fail
from nestdsl.plan.cost import BYTES
from nestdsl.plan.plan import Plan

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def training_bytes(plan: Plan, batch: int, tokens: int) -> int:
    """The least that a step of training needs, in float32.

    Weights, their gradients, the optimizers' memories, and of what the backward pass needs only
    the output of each level and the state of each sequence; the truth is a few times as much.
    """
    outputs = sum(level.output_size * level.copies for level in plan.levels)
    costs = plan.costs
    weights = costs.parameter_bytes + costs.trained_parameters * BYTES + costs.optimizer_bytes
    return weights + batch * (tokens * outputs * BYTES + costs.state_bytes_per_sequence)


def require_memory(needed: int, device: torch.device, what: str, hint: str) -> None:
    """Raises NestError N0503 with the estimate if a device has less free memory than is needed."""
    free = _free(device)
    if free is not None and needed > free:
        raise fail(
            "N0503", f"{what} needs at least {_shown(needed)}; {device.type} has {_shown(free)} free", hint
        )


def _free(device: torch.device) -> int | None:
    """Free bytes of a device; None where that cannot be told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def _shown(count: int) -> str:
    value, unit = float(count), 0
    while value >= 1024 and unit + 1 < len(_UNITS):
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}"
