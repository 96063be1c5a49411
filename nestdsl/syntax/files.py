"""Reads a program's file."""

from __future__ import annotations

from pathlib import Path

from nestdsl.diagnostics import fail
from nestdsl.limits import MAX_FILE_BYTES
from nestdsl.source import Source


def read_source(path: str | Path, name: str | None = None) -> Source:
    """The source in a file, shown in messages as `name` (the path as given, if left out).

    Raises NestError N0003 if it cannot be read as UTF-8 text, N0004 if it is too large.
    """
    path = Path(path)
    shown = name or str(path)
    try:
        if path.is_dir():
            raise fail("N0003", f"{shown} is a folder", "name a `.nest` file in it")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError as error:
        raise fail("N0003", f"there is no file {shown}", "check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise fail(
            "N0003", f"{shown} cannot be read: {reason}", "check the path and its permissions"
        ) from error
    if len(data) > MAX_FILE_BYTES:
        limit = f"{MAX_FILE_BYTES // 1024} KiB"
        raise fail(
            "N0004", f"{shown} is larger than a program may be, {limit}", "split it into files with `use`"
        )
    if b"\0" in data:
        raise fail("N0003", f"{shown} is no text: it holds zero bytes", "name a `.nest` file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise fail(
            "N0003", f"{shown} is not UTF-8: byte {error.start} cannot be read", "save the file as UTF-8"
        ) from error
    return Source(text, shown, path)
