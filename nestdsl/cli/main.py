"""The command line: each command in a file of its own, and what every one of them does with mistakes."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

from nestdsl import __version__
from nestdsl.cli import check, compile, eval, explain, fmt, generate, render, train
from nestdsl.cli.report import report
from nestdsl.diagnostics import NestError

COMMANDS = (check, fmt, compile, render, explain, train, eval, generate)

CLEAN, DIAGNOSTICS, USAGE, FAULT, INTERRUPTED = 0, 1, 2, 3, 130


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    whole = argparse.ArgumentParser(
        prog="nestdsl", description="A language for Nested Learning, compiled to PyTorch."
    )
    whole.add_argument("--version", action="version", version=f"nestdsl {__version__}")
    subparsers = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(subparsers)
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command. Exit status: 0 clean, 1 diagnostics, 2 wrong usage, 3 a fault of nestdsl."""
    parsed = parser().parse_args(arguments)
    try:
        return parsed.run(parsed)
    except NestError as error:
        report(error.diagnostics, getattr(parsed, "format", "text"), sys.stderr)
        return DIAGNOSTICS
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `| head` does; that is no fault.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLEAN
    except Exception:  # noqa: BLE001  the one place that turns a fault into exit status 3
        traceback.print_exc()
        print(
            f"\nThis is a fault of nestdsl {__version__}, not of your program. Please report it with the "
            "program and the lines above.",
            file=sys.stderr,
        )
        return FAULT


if __name__ == "__main__":
    sys.exit(main())
