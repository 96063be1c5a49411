"""`nestdsl check`: everything that is wrong with some programs."""

from __future__ import annotations

import argparse
import sys

from nestdsl.cli.chosen import FILE_HELP, choose
from nestdsl.cli.guarded_imports import garbage_kept
from nestdsl.cli.imports import add_import_argument
from nestdsl.cli.report import FORMATS, report
from nestdsl.diagnostics import Diagnostic, NestError
from nestdsl.diagnostics.quantities import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help=FILE_HELP)
    parser.add_argument("--format", choices=FORMATS, default="text", help="how to print what is found")
    parser.add_argument("--strict", action="store_true", help="let warnings fail as errors do")
    add_import_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    found: list[Diagnostic] = []
    with garbage_kept():
        for file in arguments.files:
            found += _check(file)
    report(found, arguments.format, sys.stdout)
    if not found and arguments.format == "text":
        print(f"{counted(len(arguments.files), 'program')} checked: no problems found")
    return int(any(diagnostic.is_error or arguments.strict for diagnostic in found))


def _check(file: str) -> tuple[Diagnostic, ...]:
    try:
        return choose(file).analyse().diagnostics
    except NestError as error:
        return error.diagnostics
