"""The import of torch, by commands that need it: the first thing that a lack of memory stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nestdsl.diagnostics import fail
from nestdsl.interrupts import interrupts_held
from nestdsl.memory import CLOSE_OTHERS, addresses_left, fits_memory

_LEAST_BYTES = 700 * 2**20
"""Addresses that torch 2.13 and what it loads take on a CPU; for a GPU it is more."""


@contextmanager
def importing_torch() -> Iterator[None]:
    """Around the imports of what imports torch: holds interrupts back, which torch does not survive.

    Raises NestError N0503 where torch does not fit into memory; where that is plain from the start, before
    its libraries are loaded, which end the process.
    """
    left = addresses_left()
    if left is not None and left < _LEAST_BYTES:
        message = f"torch needs at least {_LEAST_BYTES >> 20} MiB of addresses; {left >> 20} MiB are left"
        raise fail("N0503", message, CLOSE_OTHERS)
    with interrupts_held(), fits_memory("torch"):
        yield
