"""`nestdsl check`: everything that is wrong with some programs."""

from __future__ import annotations

import argparse
import gc
import sys

from nestdsl.cli.chosen import choose
from nestdsl.cli.imports import add_import_argument
from nestdsl.cli.program import FILE_HELP
from nestdsl.cli.report import FORMATS, report
from nestdsl.diagnostics import Diagnostic, NestError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("check", help="find everything that is wrong with programs")
    parser.add_argument("files", metavar="FILE", nargs="+", help=FILE_HELP)
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to print what is found")
    parser.add_argument("--strict", action="store_true", help="let warnings fail as errors do")
    add_import_argument(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    found: list[Diagnostic] = []
    # Nothing that a check makes is garbage before it ends; looking for some takes a tenth of its time.
    gc.disable()
    try:
        for file in arguments.files:
            found += _check(file)
    finally:
        gc.enable()
    report(found, arguments.format, sys.stdout)
    if not found and arguments.format == "text":
        count = len(arguments.files)
        print(f"{count} program{'s' * (count != 1)} checked: nothing is wrong")
    return int(any(diagnostic.is_error or arguments.strict for diagnostic in found))


def _check(file: str) -> tuple[Diagnostic, ...]:
    try:
        return choose(file).analyse().diagnostics
    except NestError as error:
        return error.diagnostics
