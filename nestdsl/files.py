"""Opens what must be a file: never waits for a pipe, and never reads a device without end."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotAFileError(OSError):
    """A path leads to a pipe, a socket or a device (`kind`, in words), from which no file can be read."""

    def __init__(self, path: str | os.PathLike[str], kind: str) -> None:
        super().__init__(errno.EINVAL, f"it is {kind}, not a file", os.fspath(path))
        self.kind = kind


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """Opens a file to read its bytes, and returns at once.

    Raises OSError: IsADirectoryError for a folder, NotAFileError for what else is no file; ValueError
    for a path that no file can have.
    """
    # Once before it is opened, since a pipe notices its readers; and once after, since it may have changed.
    _require_file(path, os.stat(path).st_mode)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_file(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_file(path: str | os.PathLike[str], mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    for is_kind, kind in _KINDS:
        if is_kind(mode):
            raise NotAFileError(path, kind)
