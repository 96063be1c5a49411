"""Reads a program from a file."""

from __future__ import annotations

from pathlib import Path

from nestdsl import limits
from nestdsl.diagnostics import NestError, fail
from nestdsl.files import NotAFileError, open_file
from nestdsl.source import Source


def read_source(path: str | Path) -> Source:
    """The text of a `.nest` file, which messages call by the path given here.

    Raises NestError: N0003 where there is no such file, it cannot be read or is not UTF-8 text, N0004
    where it is over the limit (no more than that is read).
    """
    name = str(path)
    try:
        with open_file(path) as file:
            # None: some of the files that the system makes up have nothing to read at the moment.
            data = file.read(limits.MAX_FILE_BYTES + 1) or b""
    except FileNotFoundError:
        raise fail("N0003", f"there is no file {name!r}", "check the path and the working folder") from None
    except IsADirectoryError:
        raise fail("N0003", f"{name!r} is a folder", "name a file in it") from None
    except NotAFileError as error:
        hint = "save the program as a file, and name that"
        raise fail("N0003", f"{name!r} is {error.kind}, not a file", hint) from None
    except PermissionError:
        raise fail("N0003", f"{name!r} may not be read", "change its permissions") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = "check the path, and each folder and link on its way"
        raise fail("N0003", f"{name!r} cannot be read: {reason}", hint) from None
    if len(data) > limits.MAX_FILE_BYTES:
        raise _too_large(name)
    if b"\0" in data:
        raise fail("N0003", f"{name!r} is a binary file, not a program", "name a `.nest` file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"{name!r} is not UTF-8 text: line {line} has the byte 0x{data[error.start]:02x}"
        raise fail("N0003", message, "save it as UTF-8") from None
    return Source(text, name, Path(path))


def _too_large(name: str) -> NestError:
    message = f"a file has at most {limits.MAX_FILE_BYTES:,} bytes; {name!r} has more"
    return fail("N0004", message, "split it into several files and `use` them")
