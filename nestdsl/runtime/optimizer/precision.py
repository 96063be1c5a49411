"""In which precision `newton_schulz` multiplies where a program leaves that to the machine.

That is bfloat16 where the machine has it in hardware, as torch.optim.Muon always has it, and float32
elsewhere, where bfloat16 would be up to sixty times as slow. A program and its plan pin nothing about the
machine; a run, and the state of an optimizer, keep what they began with.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import torch

from nestdsl import processor
from nestdsl.diagnostics import fail
from nestdsl.given import described
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.plan.precision import precisions_of
from nestdsl.vocabulary.functions import AUTO, PRECISION, PRECISIONS

_MEASURED_SIZE, _MEASURED_TIMES = 192, 3
"""Of the products that are timed where nothing says what the hardware has."""


def fast_precision(devices: Iterable[torch.device]) -> str:
    """The precision in which products are fast on these devices: bfloat16 if it is on all of them."""
    return "bfloat16" if all(has_fast_bfloat16(device) for device in set(devices)) else "float32"


@lru_cache(maxsize=32)
def has_fast_bfloat16(device: torch.device) -> bool:
    """Asked of the hardware, or else measured once."""
    if device.type == "cuda":
        if torch.version.hip:
            return True
        return torch.cuda.get_device_capability(device) >= (8, 0)
    known = processor.has_bfloat16() if device.type == "cpu" else None
    return _is_faster(device) if known is None else known


def _is_faster(device: torch.device) -> bool:
    try:
        return _seconds(device, torch.bfloat16) < _seconds(device, torch.float32)
    except (RuntimeError, TypeError):  # a device without such products
        return False


def _seconds(device: torch.device, kind: torch.dtype) -> float:
    """The least that a product takes."""
    x = torch.ones(_MEASURED_SIZE, _MEASURED_SIZE, device=device, dtype=kind)
    times = []
    for _ in range(1 + _MEASURED_TIMES):
        start = time.perf_counter()
        float((x @ x)[0, 0])  # which waits for the device
        times.append(time.perf_counter() - start)
    return min(times[1:])


def verified(precision: str) -> str:
    """The same precision, or ""; raises NestError N0203 for anything else, such as what leaves it open."""
    fixed = [one for one in PRECISIONS if one != AUTO]
    if not isinstance(precision, str) or precision not in ("", *fixed):
        known = " and ".join(fixed)
        message = f"{described(precision)} is not a precision of products: there are {known}"
        raise fail("N0203", message, "give one of them, or nothing for that of this machine")
    return precision


@lru_cache(maxsize=256)
def with_precision(program: OptimizerProgram, precision: str) -> OptimizerProgram:
    """The program with this choice wherever it leaves one to the machine; what it says itself stays."""
    if precision == AUTO or AUTO not in precisions_of(program):
        return program
    lines = tuple(
        replace(
            line,
            options=tuple(
                (name, precision if (name, value) == (PRECISION, AUTO) else value)
                for name, value in line.options
            ),
        )
        for line in program.lines
    )
    return replace(program, lines=lines)
