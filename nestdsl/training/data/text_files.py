"""Where text comes from: a file, a folder, or the Python source of this machine. No torch here."""

from __future__ import annotations

import codecs
import errno
import os
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nestdsl.diagnostics import NestError, fail
from nestdsl.files import NotAFileError, open_file

SOURCES = (
    "a text file, a folder of text files, `stdlib` (the Python source of this machine), or `task:` and a name"
)
MOST_BYTES = 2**31
"""All text is held in memory, so there is a limit."""

_PIECE = 2**20
"""Bytes that are read and looked at in one go."""

_NOT_THE_LIBRARY = frozenset(
    (
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idlelib",
        "lib2to3",
        "turtledemo",
        "ensurepip",
        "__pycache__",
    )
)


@dataclass(frozen=True, slots=True)
class Text:
    """One file: its name, relative to the source it belongs to, and the bytes of the whole that are its."""

    name: str
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a source, UTF-8, one after another in an order that depends on their names alone.

    `whole` holds all bytes, once. `skipped` is the number of its other files, which are not text.
    """

    whole: bytearray
    texts: tuple[Text, ...]
    skipped: int = 0


def read_texts(source: str) -> Texts:
    """Reads a data source into one buffer.

    Raises NestError: N0003 for what is missing, not readable, not UTF-8 or no file, N0004 for too much
    text, N0501 for a source that has no text. It never waits for another program, as reading a pipe does.
    """
    if source == "stdlib":
        folder = Path(sysconfig.get_path("stdlib"))
        return _read_folder(folder, _files(folder, ".py", _NOT_THE_LIBRARY))
    if not source:
        raise fail("N0003", "no data source is given", hint=f"give {SOURCES}")
    path = Path(source)
    # Unlike those of Path, these are False where one may not look.
    if os.path.isdir(path):
        return _read_folder(path, _files(path))
    if not os.path.exists(path):
        raise fail("N0003", f"data source not found: `{source}`", hint=f"give {SOURCES}")
    whole = bytearray()
    try:
        found = _append(whole, path, path.name)
    except NotAFileError as error:
        raise fail("N0003", f"`{path}` {error.strerror}", hint=f"give {SOURCES}") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if isinstance(found, NotText):
        raise fail("N0003", f"`{path}` is not UTF-8 text: {found.place}", hint="convert it to UTF-8")
    return Texts(whole, (found,))


@dataclass(frozen=True, slots=True)
class NotText:
    """What a file is that is not text: `place` says where that shows."""

    place: str


def _read_folder(folder: Path, files: Iterable[Path]) -> Texts:
    """The files of a folder that are text; others are left out."""
    whole, texts, skipped = bytearray(), [], 0
    for path in files:
        try:
            found = _append(whole, path, path.relative_to(folder).as_posix(), folder)
        except OSError as error:
            if not (isinstance(error, NotAFileError) or _leads_nowhere(path, error)):
                raise _unreadable(path, error) from error
            found = None
        if isinstance(found, Text):
            texts.append(found)
        else:
            skipped += 1
    if not texts:
        raise fail("N0501", f"no text file in `{folder}`", hint=f"give {SOURCES}")
    return Texts(whole, tuple(texts), skipped)


def _append(whole: bytearray, path: Path, name: str, folder: Path | None = None) -> Text | NotText:
    """Appends the bytes of a file, but nothing if they are not text: in a folder, what has a NUL is none.

    The rest of a file that turns out not to be text is not read. Raises OSError, and NestError if the file
    changes meanwhile or makes too much text.
    """
    start = len(whole)
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_file(path) as file:
        before = os.fstat(file.fileno())
        piece = b"the first"
        while piece:
            piece = file.read(_PIECE)
            if place := _not_text(decoder, piece, len(whole) - start, may_hold_nul=folder is None):
                del whole[start:]
                return NotText(place)
            _verify_size(len(whole) + len(piece), folder or path)
            whole += piece
        after = os.fstat(file.fileno())
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        message = f"`{path}` changed while it was read"
        raise fail("N0003", message, hint="wait until it is written, or give a copy of it")
    return Text(name, start, len(whole))


def _not_text(decoder: codecs.IncrementalDecoder, piece: bytes, offset: int, *, may_hold_nul: bool) -> str:
    """Where a piece that begins at `offset` of its file is not text; "" if it is. The last one is empty."""
    if not may_hold_nul and b"\0" in piece:
        return f"byte 0x00 at offset {offset + piece.index(0)}"
    pending, _ = decoder.getstate()  # the start of a character whose end is in this piece
    try:
        decoder.decode(piece, final=not piece)
    except UnicodeDecodeError as error:
        return f"byte {error.object[error.start]:#04x} at offset {offset - len(pending) + error.start}"
    return ""


def _files(folder: Path, ending: str = "", left_out: frozenset[str] = frozenset()) -> list[Path]:
    """All but folders with this ending in a folder and the folders in it, hidden ones left out, by name."""
    found = []
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if name not in left_out and not name.startswith(".")]
        found += (Path(place, name) for name in names if name.endswith(ending) and not name.startswith("."))
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _refuse(error: OSError) -> None:
    raise _unreadable(error.filename, error) from error


def _unreadable(path: Path | str, error: OSError) -> NestError:
    hint = "change its permissions, or give data that can be read"
    return fail("N0003", f"cannot read `{path}`: {error.strerror or error}", hint)


def _leads_nowhere(path: Path, error: OSError) -> bool:
    """Whether a path is a link to what is not there, or to itself."""
    return error.errno in (errno.ENOENT, errno.ELOOP) and os.path.islink(path)


def _verify_size(size: int, path: Path) -> None:
    if size > MOST_BYTES:
        message = f"more than {MOST_BYTES:,} bytes of text in `{path}`"
        raise fail("N0004", message, hint="give a part of it: all text is held in memory")
