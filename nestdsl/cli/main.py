"""The entry point. It imports the commands with interrupts held back, and hardly anything before."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nestdsl.interrupts import interrupts_held
from nestdsl.terminal import standard_streams

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Exit status: 0 clean, 1 diagnostics, 2 wrong usage, 3 a fault of nestdsl, 130 interrupted.
    """
    with standard_streams():
        try:
            with interrupts_held():
                from nestdsl.cli.commands import run
            return run(arguments)
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
