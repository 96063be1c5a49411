"""Where text comes from: a file, a folder, or the Python source of this machine. No torch here."""

from __future__ import annotations

import os
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from nestdsl.diagnostics import NestError, fail

SOURCES = (
    "a text file, a folder of text files, `stdlib` (the Python source of this machine), or `task:` and a name"
)
MOST_BYTES = 2**31
"""All text is held in memory, so there is a limit."""

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
    """One file: its name, relative to the source it belongs to, and its bytes, which are UTF-8."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of a source, in an order that depends on their names alone.

    `skipped` is the number of its other files, which are not text.
    """

    texts: tuple[Text, ...]
    skipped: int = 0


def read_texts(source: str) -> Texts:
    """Reads a data source.

    Raises NestError: N0003 for what is missing, not readable or not UTF-8, N0004 for too much
    text, N0501 for a source that has no text.
    """
    if source == "stdlib":
        folder = Path(sysconfig.get_path("stdlib"))
        return _read_folder(folder, _files(folder, ".py", _NOT_THE_LIBRARY))
    path = Path(source)
    # Unlike those of Path, these are False where one may not look.
    if os.path.isdir(path):
        return _read_folder(path, _files(path))
    if os.path.isfile(path):
        return Texts((_read_file(path),))
    if os.path.exists(path):
        raise fail("N0003", f"`{source}` is neither a file nor a folder", hint=f"give {SOURCES}")
    raise fail("N0003", f"data source not found: `{source}`", hint=f"give {SOURCES}")


def _read_file(path: Path) -> Text:
    try:
        _verify_size(path.stat().st_size, path)
        content = path.read_bytes()
        content.decode("utf-8")
    except OSError as error:
        raise _unreadable(path, error) from error
    except UnicodeDecodeError as error:
        place = f"byte {error.object[error.start]:#04x} at offset {error.start}"
        raise fail("N0003", f"`{path}` is not UTF-8 text: {place}", hint="convert it to UTF-8") from error
    return Text(path.name, content)


def _read_folder(folder: Path, files: list[Path]) -> Texts:
    """The files of a folder that are text; others are left out."""
    texts = []
    size = 0
    for path in files:
        try:
            size += path.stat().st_size
            _verify_size(size, folder)
            content = path.read_bytes()
        except OSError as error:
            raise _unreadable(path, error) from error
        if _is_text(content):
            texts.append(Text(path.relative_to(folder).as_posix(), content))
    if not texts:
        raise fail("N0501", f"no text file in `{folder}`", hint=f"give {SOURCES}")
    return Texts(tuple(texts), len(files) - len(texts))


def _files(folder: Path, ending: str = "", left_out: frozenset[str] = frozenset()) -> list[Path]:
    """The regular files with this ending in a folder and the folders in it, hidden ones left out, by name."""
    found = []
    for place, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if name not in left_out and not name.startswith(".")]
        paths = (Path(place, name) for name in names if name.endswith(ending) and not name.startswith("."))
        found.extend(path for path in paths if os.path.isfile(path))
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _refuse(error: OSError) -> None:
    raise _unreadable(error.filename, error) from error


def _unreadable(path: Path | str, error: OSError) -> NestError:
    return fail("N0003", f"cannot read `{path}`: {error.strerror}")


def _is_text(content: bytes) -> bool:
    if b"\0" in content:
        return False
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _verify_size(size: int, path: Path) -> None:
    if size > MOST_BYTES:
        message = f"more than {MOST_BYTES:,} bytes of text in `{path}`"
        raise fail("N0004", message, hint="give a part of it: all text is held in memory")
