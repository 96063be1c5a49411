"""All commands, and what every one of them does with mistakes."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence

from nestdsl import __version__
from nestdsl.cli.arguments import CommandParser, Parser
from nestdsl.cli.report import report
from nestdsl.diagnostics import NestError
from nestdsl.memory import fits_memory
from nestdsl.terminal import ReaderGone

COMMANDS = {
    "check": "find everything that is wrong with programs",
    "fmt": "format programs, in place",
    "compile": "compile a program, and show it in any form on the way",
    "render": "draw a program",
    "explain": "every level of a program with its update equation; or a diagnostic with an example",
    "train": "train a program on text or on a task",
    "eval": "how well a trained model does on held-out data",
    "generate": "text from a trained model",
    "bench": "how fast a program is here",
}
"""What each command does. The file of its name in this folder has its arguments and runs it."""

CLEAN, DIAGNOSTICS, FAULT = 0, 1, 3


def parser() -> Parser:
    """The whole command line; the arguments of a command are there once it is parsed or loaded."""
    whole = Parser(prog="nestdsl", description="A language for Nested Learning, compiled to PyTorch.")
    whole.add_argument("--version", action="version", version=f"nestdsl {__version__}")
    subparsers = whole.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=CommandParser
    )
    for name, summary in COMMANDS.items():
        description = f"{summary[0].upper()}{summary[1:]}."
        subparsers.add_parser(name, help=summary, description=description, module=f"nestdsl.cli.{name}")
    return whole


def run(arguments: Sequence[str] | None) -> int:
    """Runs the command that was asked for, and gives its exit status. Raises SystemExit as argparse does."""
    format, status = "text", CLEAN
    try:
        try:
            parsed = parser().parse_args(arguments)
            format = getattr(parsed, "format", format)
            with fits_memory("this command"):
                if modules := getattr(parsed, "modules", ()):
                    from nestdsl.cli.imports import import_modules

                    import_modules(modules)
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
