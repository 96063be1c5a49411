"""Says plainly that memory was refused, wherever that happens.

Imports no torch, whose own import may be what is refused: its errors are known by their words.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nestdsl.diagnostics import fail
from nestdsl.diagnostics.quantities import in_bytes

CLOSE_OTHERS = "close other programs, or raise the limit on memory (`ulimit -v`) where there is one"

_ASKED = re.compile(r"tried to allocate ([\d.]+ \w+)", re.IGNORECASE)
"""What the allocators of torch say, on a CPU and on an accelerator."""

_WORDS = re.compile(
    r"out of memory|not enough memory|(?:can't|cannot|failed to|unable to) allocate memory"
    r"|virtual memory exhausted|bad_alloc|memory allocation of \d+ bytes failed"
    r"|failed to map segment(?!.*not permitted)",
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
        asked = f": it asks for {_counted(found[1])} more" if found else ""
        raise fail("N0503", f"{what} does not fit into memory{asked}", hint) from error


def addresses_left() -> int | None:
    """Bytes of addresses that `ulimit -v` leaves to this process; None where there is no limit."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit == resource.RLIM_INFINITY:
            return None
        used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        return max(0, limit - used)
    except (ImportError, OSError, ValueError):  # Windows has no limits, macOS no /proc
        return None


def _counted(size: str) -> str:
    """What an allocator says, `2.00 GiB` or `16384000 bytes`."""
    number, _, unit = size.partition(" ")
    return in_bytes(int(number)) if unit == "bytes" and number.isdecimal() else size


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
