"""All commands, each in a file of its own, and what every one of them does with mistakes."""

from __future__ import annotations

import argparse
import os
import sys
import traceback

from nestdsl import __version__
from nestdsl.cli import bench, check, compile, eval, explain, fmt, generate, render, train
from nestdsl.cli.arguments import Parser
from nestdsl.cli.report import report
from nestdsl.diagnostics import NestError
from nestdsl.memory import fits_memory

COMMANDS = (check, fmt, compile, render, explain, train, eval, generate, bench)

CLEAN, DIAGNOSTICS, FAULT = 0, 1, 3


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    whole = Parser(prog="nestdsl", description="A language for Nested Learning, compiled to PyTorch.")
    whole.add_argument("--version", action="version", version=f"nestdsl {__version__}")
    subparsers = whole.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.register(subparsers)
    return whole


def run(parsed: argparse.Namespace) -> int:
    """Runs the command that was asked for, and gives its exit status."""
    try:
        with fits_memory("this command"):
            return parsed.run(parsed)
    except NestError as error:
        report(error.diagnostics, getattr(parsed, "format", "text"), sys.stderr)
        return DIAGNOSTICS
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
