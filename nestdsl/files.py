"""Files, read without ever waiting for them and written whole or not at all. Imports next to nothing."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from typing import BinaryIO

from nestdsl.diagnostics import fail

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


def write_whole(path: str | os.PathLike[str], data: bytes, hint: str) -> None:
    """Writes a file under a new name beside it, then renames it; raises NestError N0504 if it cannot.

    Whatever goes wrong, what stood in the file before is still there and nothing stands beside it. A
    link stays one: the file behind it is replaced, and keeps its mode and its owner. What is no file, such
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
    new = os.path.join(os.path.dirname(path), f".{secrets.token_hex(8)}.new")
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
