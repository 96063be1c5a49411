"""Files of weights, looked at without torch: which tensors there are, and which of them a level takes.

A file is `NAME.safetensors`, or `NAME.safetensors.index.json` for one that is split into several. A
key is the name of a tensor, or what the names of a level's tensors begin with; the `model.` of our own
checkpoints can be left out. Names are those of a level's weights here (`up.weight`), or what other
libraries call the same (`up_proj.weight`). Matrices are [out, in], as torch has them.
"""

from __future__ import annotations

import json
import math
import os
import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import islice, takewhile
from pathlib import Path

from nestdsl.files import NotAFileError, open_file
from nestdsl.vocabulary.arguments import Shapes

_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
FLOATS = tuple(_BYTES)
_INDEX = ".index.json"
_LARGEST_HEADER = 100_000_000
_MOST_DIMENSIONS = 64
_LENGTH = struct.Struct("<Q")
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


class Tensors(dict[str, Stored]):
    """The tensors of a file, by name."""

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self)

    def beneath(self, start: str) -> Iterator[str]:
        """The names that begin with `start` and a point."""
        first = bisect_left(self._names, f"{start}.")
        return takewhile(lambda name: name.startswith(f"{start}."), islice(self._names, first, None))


def stored(path: str) -> Tensors:
    """All tensors of a file by name. Raises UnreadableError."""
    try:
        status = os.stat(path)
        return _stored(path, status.st_mtime_ns, status.st_size)
    except FileNotFoundError as error:
        raise UnreadableError(f"there is no file `{path}`", is_missing=True) from error
    except NotAFileError as error:
        raise UnreadableError(f"`{path}` is {error.kind}, not a file", is_missing=True) from error
    except OSError as error:
        raise UnreadableError(f"cannot read `{path}`: {error.strerror}", is_missing=True) from error
    except ValueError as error:  # a path that no file can have
        raise UnreadableError(f"there is no file `{path}`", is_missing=True) from error


@lru_cache(maxsize=16)
def _stored(path: str, changed: int, size: int) -> Tensors:
    return _of_parts(path) if path.endswith(_INDEX) else _of_one(path)


def _of_parts(path: str) -> Tensors:
    with open_file(path) as file:
        index = _object(file.read(_LARGEST_HEADER + 1) or b"")
    parts = None if index is None else index.get("weight_map")
    if not isinstance(parts, dict) or not all(isinstance(part, str) for part in parts.values()):
        raise UnreadableError(f"`{path}` does not say which file holds which weights")
    names = {name: os.path.basename(part) for name, part in parts.items()}
    folder = Path(path).parent
    found: dict[str, Tensors] = {}
    for part in dict.fromkeys(names.values()):
        if part.endswith(_INDEX):
            raise UnreadableError(f"`{path}` places weights in `{part}`, which is an index as well")
        found[part] = stored(str(folder / part))
    missing = [name for name, part in names.items() if name not in found[part]]
    if missing:
        one = missing[0]
        raise UnreadableError(f"`{names[one]}` has no tensor `{one}`, which `{path}` places there")
    return Tensors((name, found[part][name]) for name, part in names.items())


def _of_one(path: str) -> Tensors:
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(_LENGTH.size) or b""
        length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else size
        if length > min(size - _LENGTH.size, _LARGEST_HEADER):
            raise UnreadableError(f"`{path}` is not a safetensors file")
        header = _object(file.read(length) or b"")
    if header is None:
        raise UnreadableError(f"`{path}` is not a safetensors file: its header cannot be read")
    header.pop("__metadata__", None)
    beyond = size - _LENGTH.size - length
    return Tensors((name, _tensor(path, name, one, beyond)) for name, one in header.items())


def _tensor(path: str, name: str, entry: object, size: int) -> Stored:
    """A tensor as the header describes it; `size` bytes are there for all. Raises UnreadableError."""
    match entry:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [begin, end]} if (
            _are_counts(shape) and _are_counts([begin, end]) and begin <= end <= size
        ):
            wanted = _BYTES.get(kind)
            if wanted is None or math.prod(shape) * wanted == end - begin:
                return Stored(path, kind, tuple(shape))
    raise UnreadableError(f"the header of `{path}` does not fit its tensor `{name}`: the file is damaged")


def _are_counts(values: list[object]) -> bool:
    return len(values) <= _MOST_DIMENSIONS and all(
        isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 2**63 for one in values
    )


def _object(text: bytes) -> dict[str, object] | None:
    """A JSON object in which no name is given twice; None for all else."""
    try:
        found = json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):  # brackets within brackets, deeper than Python can read
        return None
    return found if isinstance(found, dict) else None


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is given twice")
    return found


def find(tensors: Tensors, key: str, part: str, shapes: Shapes) -> Found | None:
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
            for name in tensors.beneath(start)
            if not name.endswith(_NO_WEIGHTS)
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
