"""Puts files into the folder of a run: whole or not at all, and never through a link that stands there."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nestdsl.diagnostics import fail

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_NAME = ".nestdsl-new"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Inside, no other process trains in this folder. Raises NestError N0504 where one does.

    The lock is the system's, on the folder itself: it leaves no file, and ends with the process.
    """
    if fcntl is None:  # a system without such locks
        yield
        return
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "wait until it has ended, or give another --out for a new run"
            raise fail("N0504", f"another process trains in `{folder}`", hint) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(held)


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A new, empty folder inside a run's, for files before `put_in_place`. Removed at the end.

    What an earlier program left under its name, which may be a link, goes first. Raises OSError.
    """
    place = folder / _NAME
    _remove(place)
    os.mkdir(place)
    try:
        yield place
    finally:
        _remove(place)


def _remove(place: Path) -> None:
    if not os.path.lexists(place):
        return
    if stat.S_ISDIR(os.lstat(place).st_mode):
        shutil.rmtree(place)  # which follows no links
    else:
        os.unlink(place)  # of a link, the link itself


def put_in_place(new: Path, path: Path) -> None:
    """Moves a written file over another, so that after a crash either the old or the new one is whole.

    A link at `path` is replaced; the file that it leads to stays as it is. Raises OSError.
    """
    with open(new, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(new, path)
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
