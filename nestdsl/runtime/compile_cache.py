"""Where compiled code is kept between runs: a folder in the user's own cache that nobody else can write to.

Code is loaded from there, so it matters whose it is. Torch's own default is a folder in `/tmp` by the user's
name, which anybody on the machine can make first. Nothing is ever loaded from the folder of a run.
"""

from __future__ import annotations

import atexit
import errno
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from pathlib import Path

import torch

from nestdsl import processor
from nestdsl.diagnostics import fail
from nestdsl.interrupts import interrupts_held

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""The variable of torch's by which a user may name another folder."""
_NAME, _TEMPORARY = "nestdsl", "nestdsl-compiled-"
_DEFAULT = "torchinductor_"
"""How the name of the folder begins that torch takes by itself, among the temporary ones."""


class UnsafeFolder(Exception):
    """Why compiled code cannot be kept in a folder."""


def use_compile_cache(*, compiles: bool = True) -> Path:
    """Lets torch keep what it compiles from now on in the folder that is for it; to be called before it does.

    It is the one that the user has named, or one in the user's cache, for this torch, this processor and
    this number of threads. Where that is unsafe or cannot be written, it is a private one for this process,
    and a warning says why. Without `compiles` there is none: torch makes the folder when it is not
    needed, too. Raises NestError N0504 if there is no place at all.
    """
    folder, fault = _folder(os.environ.get(VARIABLE) or "", tempfile.gettempdir(), torch.get_num_threads())
    os.environ[VARIABLE] = str(folder)
    with interrupts_held():
        import torch._dynamo as _  # noqa: F401  # not before: importing it makes the folder
    if compiles:
        if fault:
            _warn(
                f"what is compiled is kept for this process only, in `{folder}`: {fault}; to keep it, let "
                f"XDG_CACHE_HOME or {VARIABLE} name a folder of your own"
            )
        with interrupts_held():
            from torch._inductor import codecache

        # Torch keeps these in its default folder, whatever the variable says.
        codecache._HEADER_DIR = str(folder / "precompiled_headers")
        codecache._HEADER_LOCK_DIR = str(folder / "precompiled_headers" / "locks")
    return folder


@cache  # so that it is said once, wherever it is found out
def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)


@lru_cache(maxsize=32)
def _folder(named: str, temporary: str, threads: int) -> tuple[Path, str]:
    """The folder, and if it is not the one that it should be, why."""
    if named in _instead:
        return Path(named), _instead[named]
    try:
        if _is_of_user(named, temporary):
            folder = Path(named).absolute()
            folder.mkdir(parents=True, exist_ok=True)
            _warn_if_unsafe(folder)
        else:
            folder = private_folder(user_cache() / _NAME) / _key(threads)
            folder.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder, ""
    except (OSError, UnsafeFolder) as error:
        is_ours = isinstance(error, UnsafeFolder)
        fault = str(error) if is_ours else f"`{error.filename}`: {error.strerror}"
    try:
        private = _private_temporary()
    except OSError as error:
        raise fail(
            "N0504",
            f"there is no place for what is compiled: {fault}; and no temporary one: {error.strerror}",
            f"set {VARIABLE} to a folder that you can write to",
        ) from error
    _instead[str(private)] = fault
    return private, fault


_instead: dict[str, str] = {}
"""The private folder of this process, if it has one, and why."""


def _warn_if_unsafe(folder: Path) -> None:
    """The user has said that this is the place; whose it is may not be known."""
    try:
        _verify_safe(folder.resolve())
    except UnsafeFolder as error:
        _warn(f"code is compiled to and loaded from `{folder}`, as {VARIABLE} says, but {error}")


def _is_of_user(named: str, temporary: str) -> bool:
    """Whether it was the user who named a folder: torch names its own in the same way, and so does this.

    A temporary one that is not of this process is that of another, which may be gone.
    """
    folder, others = Path(named), (_DEFAULT, _TEMPORARY)
    if not named or (folder.parent == Path(temporary).absolute() and folder.name.startswith(others)):
        return False
    try:
        return folder.parent != (user_cache() / _NAME).resolve()
    except (OSError, UnsafeFolder):
        return True


@cache
def _private_temporary() -> Path:
    """A folder of nobody else's, removed at the end."""
    folder = tempfile.mkdtemp(prefix=_TEMPORARY)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def user_cache() -> Path:
    """The folder for caches of this user, by the habits of the platform."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(given):  # a relative one is to be ignored
        return Path(given)
    try:
        home = Path.home()
    except RuntimeError as error:
        raise UnsafeFolder("this user has no home folder") from error
    match sys.platform:
        case "darwin":
            return home / "Library" / "Caches"
        case "win32":
            return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
        case _:
            return home / ".cache"


def private_folder(folder: Path) -> Path:
    """Makes a folder, with those above it, that only this user can look into, or takes it as it is.

    Raises UnsafeFolder if another user can change what is in it, OSError if it cannot be made.
    """
    is_there = next(place for place in (folder, *folder.parents) if place.exists())
    if is_there != folder:
        _verify_above(is_there.absolute())
    for place in (*reversed(folder.parents), folder):
        if not place.exists():
            place.mkdir(mode=0o700, exist_ok=True)
    _verify_safe(folder.absolute())
    resolved = folder.resolve()
    if resolved != folder.absolute():
        _verify_safe(resolved)
    if os.name == "posix":
        os.chmod(resolved, 0o700)
    return resolved


def _verify_above(folder: Path) -> None:
    """Raises UnsafeFolder where a folder of this user's could not be made below this one, and stay his."""
    if os.name == "posix":
        for place in (folder, *folder.parents):
            _verify_place(place, may_be_shared=True)


def _verify_safe(folder: Path) -> None:
    """Raises UnsafeFolder where another user owns the folder or one above it, or may write there."""
    if os.name != "posix":  # where folders of users are theirs by default, and modes say nothing
        return
    for place in (folder, *folder.parents):
        _verify_place(place, may_be_shared=place != folder)


def _verify_place(place: Path, *, may_be_shared: bool) -> None:
    """Raises UnsafeFolder for a place of another user's. A shared one may be the system's, and sticky."""
    user, found = os.geteuid(), place.stat()
    if found.st_uid != user and not (may_be_shared and found.st_uid == 0):
        raise UnsafeFolder(f"`{place}` belongs to another user")
    # In a sticky folder others cannot rename what is not theirs; a group of one is nobody else.
    is_open = found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and found.st_gid != user)
    if is_open and not (may_be_shared and found.st_mode & stat.S_ISVTX):
        raise UnsafeFolder(f"other users may write to `{place}`")


def _key(threads: int) -> str:
    """What compiled code depends on: a home may be shared by machines."""
    made_for = hashlib.sha256(processor.description().encode()).hexdigest()[:12]
    return f"torch-{torch.__version__}-{sys.implementation.cache_tag}-{made_for}-{threads}-threads"


@contextmanager
def cache_is_written() -> Iterator[None]:
    """Raises NestError N0504 where compiling fails inside because its folder cannot be written any more."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        reason = _unwritten(error)
        if reason is None:
            raise
        raise fail(
            "N0504",
            f"compiled code cannot be written to `{os.environ.get(VARIABLE)}`: {reason}",
            f"make room there, set {VARIABLE} to another folder, or do not compile (`--eager`)",
        ) from error


def _unwritten(error: BaseException) -> str | None:
    """Why the folder could not be written, if that is what an error is about."""
    inner = getattr(error, "inner_exception", error)  # torch wraps what happens while it compiles
    if not isinstance(inner, OSError):
        full = os.strerror(errno.ENOSPC)
        return full if full in str(inner) else None  # said by the C++ compiler
    folder = os.environ.get(VARIABLE) or os.devnull
    is_ours = inner is not error or str(inner.filename or "").startswith(folder)
    return inner.strerror or str(inner) if is_ours else None
