"""Opens files of others without ever waiting for them. Imports next to nothing."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotAFile(OSError):
    """A path that is there, but no regular file. `strerror` says what it is: "is a pipe, not a file"."""

    def __init__(self, mode: int, path: str) -> None:
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        super().__init__(errno.EINVAL, f"is {kind}, not a file", path)


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a regular file to read its bytes, unbuffered. Follows links.

    Raises OSError as `open` does, `NotAFile` for a folder, a pipe, a socket or a device, which are not even
    opened: to open some waits for another program, and reading others never ends; and ValueError for a path
    with a NUL.
    """
    path = os.fspath(path)
    if not stat.S_ISREG(mode := os.stat(path).st_mode):
        raise NotAFile(mode, path)
    # What stands there now may be another thing: opening it must not wait either.
    file = open(path, "rb", buffering=0, opener=_without_waiting)  # noqa: SIM115  the caller closes it
    if not stat.S_ISREG(mode := os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotAFile(mode, path)
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))
