"""`nestdsl fmt`: programs in the one layout."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
import tempfile
from pathlib import Path

from nestdsl.cli.report import report
from nestdsl.diagnostics import Diagnostic, NestError, fail
from nestdsl.syntax.files import read_source
from nestdsl.syntax.formatter import format_source


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("fmt", help="lay programs out in the one way, in place")
    parser.add_argument("files", metavar="FILE", nargs="+", help="programs, `.nest` files")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--check", action="store_true", help="change nothing; exit status 1 if a file would change"
    )
    how.add_argument("--diff", action="store_true", help="change nothing; print what would change")
    parser.set_defaults(run=run)


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
                _replace(Path(file), formatted)
                print(f"{file} formatted")
        except NestError as error:
            found += error.diagnostics
    report(found, "text", sys.stderr)
    return int(bool(found) or (would_change and arguments.check))


def _replace(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", newline="", dir=path.parent, delete=False
        ) as new:
            new.write(text)
        Path(new.name).chmod(path.stat().st_mode)
        os.replace(new.name, path)
    except OSError as error:
        raise fail("N0504", f"{path} cannot be written: {error.strerror}", "check its permissions") from error
