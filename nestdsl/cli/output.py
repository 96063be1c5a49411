"""Writes what a command makes, to a file or to standard output."""

from __future__ import annotations

import sys

from nestdsl.files import write_whole


def write_text(text: str, path: str | None) -> None:
    """Writes to the path, or prints; raises NestError N0504 if either cannot be written."""
    if path is None:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    else:
        write_whole(path, text.encode("utf-8"), "choose another place with -o")
