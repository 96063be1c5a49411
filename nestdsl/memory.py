"""Says plainly that memory was refused, wherever that happens.

Imports no torch, whose own import may be what is refused: its errors are known by their words.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

from nestdsl.diagnostics import fail

CLOSE_OTHERS = "close other programs, or raise the limit on memory (`ulimit -v`) where there is one"

_ASKED = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)
"""What the allocators of torch say, on a CPU and on an accelerator."""

_WORDS = re.compile(
    r"out of memory|not enough memory|(?:can't|cannot|failed to|unable to) allocate memory"
    r"|virtual memory exhausted|bad_alloc|memory allocation of \d+ bytes failed",
    re.IGNORECASE,
)
"""What torch, its compilers, the loader of libraries and other libraries say."""


@contextmanager
def fits_memory(what: str, hint: str = CLOSE_OTHERS) -> Iterator[None]:
    """Raises NestError N0503, "`what` does not fit into memory", for memory that is refused inside.

    Works around a block, and as a decorator.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError, SystemError, ImportError) as error:
        if not was_refused(error):
            raise
        found = _ASKED.search(str(error))
        asked = f": it asks for {found[1]} more" if found else ""
        raise fail("N0503", f"{what} does not fit into memory{asked}", hint) from error


def was_refused(error: BaseException | None) -> bool:
    """Whether an error, or what led to it, is that memory was refused."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return True
        if not isinstance(error, OSError) and (_ASKED.search(str(error)) or _WORDS.search(str(error))):
            return True
        error = error.__cause__ or error.__context__
    return False
