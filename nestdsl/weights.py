"""Files of weights, looked at without torch: which tensors there are, and which of them a level takes.

A file is `NAME.safetensors`, or `NAME.safetensors.index.json` for one that is split into several. A
key is the name of a tensor, or what the names of a level's tensors begin with; the `model.` of our own
checkpoints can be left out. Names are those of a level's weights here (`up.weight`), or what other
libraries call the same (`up_proj.weight`). Matrices are [out, in], as torch has them.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from nestdsl.library.types import Shapes

FLOATS = ("F64", "F32", "F16", "BF16")
_LARGEST_HEADER = 100_000_000
_OTHER_NAMES = {
    "up": ("up_proj", "fc1", "fc_in", "wi", "dense_h_to_4h"),
    "down": ("down_proj", "fc2", "fc_out", "wo", "dense_4h_to_h"),
    "query": ("q_proj", "q", "wq"),
    "key": ("k_proj", "k", "wk"),
    "value": ("v_proj", "v", "wv"),
    "output": ("o_proj", "out_proj", "o", "wo"),
}
"""What other libraries call the parts of a level."""
_NO_WEIGHTS = ("inv_freq", "masked_bias")
"""Ends of names of tensors that are tables, not weights."""


class UnreadableError(Exception):
    """A file of weights that is not there (`is_missing`), or is none."""

    def __init__(self, message: str, *, is_missing: bool = False) -> None:
        super().__init__(message)
        self.is_missing = is_missing


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of a file: which file holds it, its kind of numbers and its shape."""

    file: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The tensor for each weight of a level, and those tensors beneath the key that it has no place for."""

    tensors: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]


def stored(path: str) -> Mapping[str, Stored]:
    """All tensors of a file by name. Raises UnreadableError."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise UnreadableError(f"there is no file `{path}`", is_missing=True) from error
    if not os.path.isfile(path):
        raise UnreadableError(f"`{path}` is not a file", is_missing=True)
    return _stored(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=16)
def _stored(path: str, changed: int, size: int) -> Mapping[str, Stored]:
    return _of_parts(path) if path.endswith(".index.json") else _of_one(path, size)


def _of_parts(path: str) -> Mapping[str, Stored]:
    try:
        with open(path, encoding="utf-8") as file:
            parts = json.load(file)["weight_map"]
        names = {str(name): os.path.basename(str(part)) for name, part in parts.items()}
    except OSError as error:
        raise UnreadableError(f"cannot read `{path}`: {error.strerror}", is_missing=True) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableError(f"`{path}` does not say which file holds which weights") from error
    folder = Path(path).parent
    found = {part: stored(str(folder / part)) for part in dict.fromkeys(names.values())}
    missing = [name for name, part in names.items() if name not in found[part]]
    if missing:
        one = missing[0]
        raise UnreadableError(f"`{names[one]}` has no tensor `{one}`, which `{path}` places there")
    return {name: found[part][name] for name, part in names.items()}


def _of_one(path: str, size: int) -> Mapping[str, Stored]:
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, _LARGEST_HEADER):
                raise UnreadableError(f"`{path}` is not a safetensors file")
            header = json.loads(file.read(length))
        return {
            str(name): Stored(path, str(one["dtype"]), tuple(int(extent) for extent in one["shape"]))
            for name, one in header.items()
            if name != "__metadata__"
        }
    except OSError as error:
        raise UnreadableError(f"cannot read `{path}`: {error.strerror}", is_missing=True) from error
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise UnreadableError(f"`{path}` is not a safetensors file") from error


def find(tensors: Mapping[str, Stored], key: str, part: str, shapes: Shapes) -> Found | None:
    """The tensors beneath a key that are the weights of a level; None if there are none.

    `part` is the part of the whole to which the key belongs, such as the `query` of attention.
    """
    for start in _starts(key, part):
        only = shapes[0][0] if len(shapes) == 1 else "weight"
        if start in tensors and any(name == only for name, _ in shapes):
            others = tuple(name for name, _ in shapes if name != only)
            return Found(((only, start),), others, ())
        beneath = {
            name[len(start) + 1 :].removeprefix("layer."): name
            for name in tensors
            if name.startswith(f"{start}.") and not name.endswith(_NO_WEIGHTS)
        }
        if beneath:
            return _matched(beneath, shapes)
    return None


def _starts(key: str, part: str) -> Iterator[str]:
    parts = (part, *_OTHER_NAMES.get(part, ())) if part else ("",)
    for start in (key, f"model.{key}"):
        if part:
            yield f"{start}_{part}"  # as our own checkpoints call the parts of a level
        for one in parts:
            yield f"{start}.{one}" if one else start


def _matched(beneath: dict[str, str], shapes: Shapes) -> Found:
    found: list[tuple[str, str]] = []
    missing: list[str] = []
    for name, _ in shapes:
        first, dot, rest = name.partition(".")
        known = (name, *(f"{other}{dot}{rest}" for other in _OTHER_NAMES.get(first, ())))
        match = next((other for other in known if other in beneath), None)
        if match is None:
            missing.append(name)
        else:
            found.append((name, beneath.pop(match)))
    return Found(tuple(found), tuple(missing), tuple(beneath.values()))


def fits(given: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether a tensor has a weight's shape, but for extents of 1, as in the filters of a convolution."""
    return tuple(one for one in given if one != 1) == tuple(one for one in wanted if one != 1)
