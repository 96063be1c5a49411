"""Whether work fits into memory, judged from its plan before anything is allocated.

`nestdsl.memory` says it where memory is refused all the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from nestdsl.diagnostics import fail
from nestdsl.diagnostics.quantities import in_bytes
from nestdsl.memory import addresses_left
from nestdsl.plan.cost import BYTES
from nestdsl.plan.plan import Plan
from nestdsl.plan.reach import reach

_ID_BYTES = 8
_THREAD_BYTES = 8 * 2**20
"""Addresses of a thread that torch has still to start; where there are none, it ends the process."""


def training_bytes(plan: Plan, batch: int, tokens: int) -> int:
    """The least that a step of training needs, in float32; the truth is a few times as much.

    Weights, their gradients and the optimizers' memories, what reading needs, and the gradient of the
    probabilities where there are any.
    """
    costs = plan.costs
    weights = costs.parameter_bytes + costs.trained_parameters * BYTES + costs.optimizer_bytes
    gradient = batch * _held_tokens(plan, tokens) * _choices(plan) * BYTES
    return weights + reading_bytes(plan, batch, tokens) + gradient


def reading_bytes(plan: Plan, batch: int, tokens: int) -> int:
    """The least that the loss of `batch` sequences and its graph need beside the weights, in float32.

    That is inputs and targets, the state of each sequence, the output of each level, and the probabilities
    of a choice. Where the graph of a segment is freed before the next, only one is there at a time.
    """
    held = _held_tokens(plan, tokens)
    outputs = sum(level.output_size * level.copies for level in plan.levels) + _choices(plan)
    state = plan.costs.state_bytes_per_sequence
    return batch * (tokens * token_bytes(plan) + held * outputs * BYTES + state)


def token_bytes(plan: Plan) -> int:
    """What an input and its target take."""
    read = _ID_BYTES if plan.input.takes == "ids" else plan.input.size * BYTES
    return read + (_ID_BYTES if plan.train.objective == "cross_entropy" else plan.output_size * BYTES)


def require_memory(needed: int, device: torch.device, what: str, hint: str) -> None:
    """Raises NestError N0503 with the estimate if a device has less free memory than is needed."""
    free = _free(device)
    if free is not None and needed > free:
        message = f"{what} needs at least {in_bytes(needed)}; {device.type} has {in_bytes(free)} free"
        raise fail("N0503", message, hint)


def _choices(plan: Plan) -> int:
    return plan.output_size if plan.train.objective == "cross_entropy" else 0


def _held_tokens(plan: Plan, tokens: int) -> int:
    """Of how many tokens the graph is there at one time, at the least."""
    segment = plan.clock.segment_tokens
    return tokens if not segment or reach(plan).is_whole else min(tokens, segment)


def _free(device: torch.device) -> int | None:
    """Free bytes of a device; None where that cannot be told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if device.type != "cpu":
        return None
    return min(_free_on_the_cpu(), default=None)


def _free_on_the_cpu() -> Iterator[int]:
    """What the machine has, what the limits of this process leave, and what those of its group leave."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            yield next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        yield from _whole_memory()
    if (left := addresses_left()) is not None:
        yield max(0, left - torch.get_num_threads() * _THREAD_BYTES)
    yield from _left_by_group(Path("/sys/fs/cgroup"))


def _whole_memory() -> Iterator[int]:
    try:
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has none
        return


def _left_by_group(folder: Path) -> Iterator[int]:
    """What the limit of a container leaves (cgroup v2). What it keeps of files makes room when asked."""
    try:
        limit = int((folder / "memory.max").read_text("ascii"))  # `max` is no number: no limit
        used = int((folder / "memory.current").read_text("ascii"))
        kept = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
        yield max(0, limit - used + int(kept.get("inactive_file", 0)) + int(kept.get("active_file", 0)))
    except (OSError, ValueError):
        return
