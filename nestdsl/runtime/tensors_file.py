"""Reads files of safetensors that other programs may replace at any moment."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import BinaryIO

import torch
from safetensors import SafetensorError, safe_open

from nestdsl.files import open_file

_READS = 100
"""How often a file is read again that changed meanwhile."""


@dataclass(frozen=True, slots=True)
class Read:
    """The tensors of a file by name, and its metadata."""

    tensors: Mapping[str, torch.Tensor]
    metadata: Mapping[str, str]


def read_tensors(path: str | os.PathLike[str], names: Collection[str] | None = None) -> Read:
    """The tensors of one file as it is at one moment, or those with these names.

    safetensors opens a path twice, for the header and for the numbers: what is replaced in between would
    give the numbers of another file. Raises OSError as `open_file` does, and ValueError for what is no
    whole file of this form or never stays the same for long enough.
    """
    for _ in range(_READS):
        with open_file(path) as held:
            before = os.fstat(held.fileno())
            try:
                read, problem = _read(_path_of(held, path), names), ""
            # RuntimeError: torch finds too few numbers, in a file that was replaced, for instance.
            except (SafetensorError, RuntimeError) as error:
                read, problem = None, str(error).splitlines()[0]
            if _is_unchanged(held, path, before):
                break
    else:
        raise ValueError("it changes while it is read")
    if read is None:
        raise ValueError(problem)
    return read


def read_metadata(path: str | os.PathLike[str]) -> Mapping[str, str]:
    """The metadata alone. Raises OSError and ValueError as `read_tensors` does."""
    return read_tensors(path, ()).metadata


def _read(path: str, names: Collection[str] | None) -> Read:
    with safe_open(path, framework="pt") as file:
        wanted = file.keys() if names is None else names
        return Read({name: file.get_tensor(name) for name in wanted}, file.metadata() or {})


def _path_of(held: BinaryIO, path: str | os.PathLike[str]) -> str:
    """A path of an open file: one that no other file can take, where the system has such paths."""
    own = f"/proc/self/fd/{held.fileno()}"
    return own if os.path.exists(own) else os.fspath(path)


def _is_unchanged(held: BinaryIO, path: str | os.PathLike[str], before: os.stat_result) -> bool:
    """Whether what was read by its path is the file that is held open, as it was."""
    try:
        read, now = os.stat(_path_of(held, path)), os.fstat(held.fileno())
    except FileNotFoundError:
        return False
    same = os.path.samestat(read, now) and os.path.samestat(before, now)
    return same and (before.st_size, before.st_mtime_ns) == (now.st_size, now.st_mtime_ns)
