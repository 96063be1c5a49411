"""All commands, each in a file of its own, and what every one of them does with mistakes."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence

from nestdsl import __version__
from nestdsl.cli import bench, check, compile, eval, explain, fmt, generate, render, train
from nestdsl.cli.arguments import Parser
from nestdsl.cli.imports import import_modules
from nestdsl.cli.report import report
from nestdsl.diagnostics import NestError
from nestdsl.memory import fits_memory
from nestdsl.terminal import ReaderGone

COMMANDS = (check, fmt, compile, render, explain, train, eval, generate, bench)

CLEAN, DIAGNOSTICS, FAULT = 0, 1, 3


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    whole = Parser(prog="nestdsl", description="A language for Nested Learning, compiled to PyTorch.")
    whole.add_argument("--version", action="version", version=f"nestdsl {__version__}")
    subparsers = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(subparsers)
    for one in (whole, *subparsers.choices.values()):
        one.color = False  # from Python 3.14 on, argparse colors its help by itself
    return whole


def run(arguments: Sequence[str] | None) -> int:
    """Runs the command that was asked for, and gives its exit status. Raises SystemExit as argparse does."""
    format, status = "text", CLEAN
    try:
        try:
            parsed = parser().parse_args(arguments)
            format = getattr(parsed, "format", format)
            with fits_memory("this command"):
                import_modules(getattr(parsed, "modules", ()))
                status = parsed.run(parsed)
        except SystemExit:
            sys.stdout.flush()
            raise
        sys.stdout.flush()  # a result is there only when it has arrived
        return status
    except NestError as error:
        report(error.diagnostics, format, sys.stderr)
        return DIAGNOSTICS
    except ReaderGone:  # as with `| head`; that is no fault
        return status
    except Exception:  # noqa: BLE001  the one place that turns a fault into exit status 3
        print(traceback.format_exc(), file=sys.stderr)
        print(
            f"This is a fault of nestdsl {__version__}, not of your program. Please report it with the "
            "program and the lines above.",
            file=sys.stderr,
        )
        return FAULT
