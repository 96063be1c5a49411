"""Files, read without ever waiting for them and written whole or not at all. Imports next to nothing."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader

from nestdsl.diagnostics import fail

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class NotAFileError(OSError):
    """A path leads to something that is not a regular file: `kind` is what it is, in words."""

    def __init__(self, path: str, mode: int) -> None:
        self.kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        super().__init__(errno.EINVAL, f"is {self.kind}, not a file", path)


class FolderError(NotAFileError, IsADirectoryError):
    """A path leads to a folder."""


def open_file(path: str | os.PathLike[str]) -> BufferedReader:
    """Opens a regular file to read its bytes, and returns at once. Follows links.

    Raises OSError as `open` does, NotAFileError for a folder, a pipe, a socket or a device: to open some
    waits for another program, and reading others never ends; and ValueError for a path that no file can have.
    """
    # Once before it is opened, since a pipe notices its readers; and once after, since it may have changed.
    path = os.fspath(path)
    _require_file(path, os.stat(path).st_mode)
    flags = (
        os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    )
    descriptor = os.open(path, flags)
    try:
        _require_file(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _require_file(path: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise FolderError(path, mode)
    if not stat.S_ISREG(mode):
        raise NotAFileError(path, mode)


def write_whole(path: str | os.PathLike[str], data: bytes, hint: str) -> None:
    """Writes a file under a new name beside it, then renames it; raises NestError N0504 if it cannot.

    Whatever goes wrong, what stood in the file before is still there and nothing stands beside it. A
    link stays one: the file behind it is replaced, and keeps its mode and its owner. Anything else, such
    as a pipe or `/dev/stdout`, is simply written to.
    """
    try:
        status = _status(path)
        if status is not None and not stat.S_ISREG(status.st_mode):
            with open(path, "wb") as device:
                device.write(data)
        else:
            _replace(os.path.realpath(path) if os.path.islink(path) else os.fspath(path), data, status)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise fail("N0504", f"{os.fspath(path)} cannot be written: {reason}", hint) from error


def _status(path: str | os.PathLike[str]) -> os.stat_result | None:
    """What stands behind a path, None if nothing does."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _replace(path: str, data: bytes, before: os.stat_result | None) -> None:
    if before is not None and not os.access(path, os.W_OK):
        raise PermissionError(None, "it is read-only")
    new = os.path.join(os.path.dirname(path), f".{os.urandom(8).hex()}.new")
    try:
        with open(new, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if before is not None:
            _take_rights(new, before)
        os.replace(new, path)
    except BaseException:  # an interrupt, too, leaves nothing behind
        if os.path.lexists(new):
            os.unlink(new)
        raise


def _take_rights(path: str, before: os.stat_result) -> None:
    """Gives a file the owner and the mode of another, the owner only where one may."""
    if hasattr(os, "chown"):
        try:
            os.chown(path, before.st_uid, before.st_gid)
        except PermissionError:
            pass
    os.chmod(path, stat.S_IMODE(before.st_mode))
