"""Imports in the middle of a command: not to be interrupted, and the first thing a lack of memory stops."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from nestdsl.diagnostics import fail
from nestdsl.interrupts import interrupts_held
from nestdsl.memory import CLOSE_OTHERS, addresses_left, fits_memory

_LEAST_BYTES = 700 * 2**20
"""Addresses that torch 2.13 and what it loads take on a CPU; for a GPU it is more."""


@contextmanager
def garbage_kept() -> Iterator[None]:
    """Around what makes next to no garbage, such as imports: looking for some takes a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def importing(what: str) -> Iterator[None]:
    """Around imports: holds interrupts back. Raises NestError N0503 where `what` does not fit into memory."""
    with interrupts_held(), fits_memory(what), garbage_kept():
        yield


@contextmanager
def importing_torch() -> Iterator[None]:
    """`importing`, for what imports torch, which an interrupt in the middle would break.

    Where it is plain from the start that torch does not fit into memory, N0503 comes before its libraries
    are loaded, which end the process.
    """
    left = addresses_left()
    if left is not None and left < _LEAST_BYTES:
        message = f"torch needs at least {_LEAST_BYTES >> 20} MiB of addresses; {left >> 20} MiB are left"
        raise fail("N0503", message, CLOSE_OTHERS)
    with importing("torch"):
        yield
