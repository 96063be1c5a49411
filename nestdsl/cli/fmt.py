"""`nestdsl fmt`: programs in the one layout."""

from __future__ import annotations

import argparse
import difflib
import sys

from nestdsl.cli.report import report
from nestdsl.diagnostics import Diagnostic, NestError
from nestdsl.files import write_whole
from nestdsl.syntax.files import read_source
from nestdsl.syntax.formatter import format_source

_HINT = "it is as it was; check its permissions, those of its folder, and the room on its disk"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="+", help="programs, `.nest` files")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--check", action="store_true", help="change nothing; exit status 1 if a file would change"
    )
    how.add_argument("--diff", action="store_true", help="change nothing; print what would change")


def run(arguments: argparse.Namespace) -> int:
    found: list[Diagnostic] = []
    would_change = False
    for file in arguments.files:
        try:
            source = read_source(file)
            formatted = format_source(source)
            if formatted == source.text:
                continue
            would_change = True
            if arguments.diff:
                lines = source.text.splitlines(True), formatted.splitlines(True)
                sys.stdout.writelines(difflib.unified_diff(*lines, file, file))
            elif arguments.check:
                print(f"{file} would change")
            else:
                write_whole(file, formatted.encode("utf-8"), _HINT)
                print(f"{file} formatted")
        except NestError as error:
            found += error.diagnostics
    report(found, "text", sys.stderr)
    return int(bool(found) or (would_change and arguments.check))
