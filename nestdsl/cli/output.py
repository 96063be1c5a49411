"""Writes what a command makes, to a file or to standard output."""

from __future__ import annotations

import sys
from pathlib import Path

from nestdsl.diagnostics import fail


def write_text(text: str, path: str | None) -> None:
    """Writes to the path, or prints; raises NestError N0504 if the path cannot be written."""
    if path is None:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        return
    write_bytes(text.encode("utf-8"), path)


def write_bytes(data: bytes, path: str) -> None:
    """Writes a file whole; raises NestError N0504 if it cannot be written."""
    try:
        Path(path).write_bytes(data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise fail("N0504", f"{path} cannot be written: {reason}", "choose another place with -o") from error
