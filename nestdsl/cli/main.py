"""The entry point. It imports with interrupts held back, and hardly anything before."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Sequence

from nestdsl.interrupts import interrupts_held
from nestdsl.terminal import standard_streams

DIAGNOSTICS, INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Exit status: 0 clean, 1 diagnostics, 2 wrong usage, 3 a fault of nestdsl, 130 interrupted.
    """
    # Else Python looks for garbage once more as it ends, for a fifth of the time of a check.
    atexit.register(gc.freeze)
    with standard_streams():
        try:
            with interrupts_held():
                from nestdsl.cli.commands import run
            return run(arguments)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return INTERRUPTED
        except (MemoryError, ImportError) as error:  # of the commands themselves, which say more
            if isinstance(error, ImportError) and "failed to map segment" not in str(error):
                raise
            print(
                "error[N0503]: nestdsl does not fit into memory",
                file=sys.stderr,
            )
            return DIAGNOSTICS


if __name__ == "__main__":
    sys.exit(main())
