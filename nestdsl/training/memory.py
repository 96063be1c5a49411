"""Says it plainly when a step of training does not fit into memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nestdsl.diagnostics import fail
from nestdsl.training.settings import Settings

_REFUSED = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)
"""What the allocators of torch say, on a CPU and on an accelerator."""


@contextmanager
def fits_memory(settings: Settings) -> Iterator[None]:
    """Raises NestError N0503 for memory that is refused inside."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        found = _REFUSED.search(str(error))
        if found is None and not isinstance(error, MemoryError | torch.OutOfMemoryError):
            raise
        asked = f": it asks for {found[1]} more" if found else ""
        raise fail(
            "N0503",
            f"{settings.batch:,} sequences of {settings.tokens:,} tokens do not fit into memory{asked}",
            hint="lower --batch or --tokens",
        ) from error
