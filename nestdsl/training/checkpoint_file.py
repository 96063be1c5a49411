"""One checkpoint file: tensors and a description, with checksums over all of both.

A file of safetensors with one entry of metadata, `nestdsl checkpoint 2`: the digest of the description, a
space, and the description as JSON. That holds the digest of each tensor's name, type, shape and numbers, so
that no bit of a tensor, nor a whole one, can change or go unnoticed. Digests find damage; against somebody
who writes both anew they are no help, so all that is read is checked as well (`checkpoint.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nestdsl.diagnostics import fail
from nestdsl.files import NotAFile
from nestdsl.runtime.tensors_file import Read, read_metadata, read_tensors

_NAME = "nestdsl checkpoint"
_FORMAT = 2
_TENSORS = "tensors"


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: tensors by name, and the rest as plain data."""

    tensors: Mapping[str, torch.Tensor]
    description: Mapping[str, Any]


def write_file(path: Path, content: Content) -> None:
    """Writes a new file. Raises OSError or SafetensorError."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in content.tensors.items()}
    digests = {name: _digest_of(name, tensor) for name, tensor in tensors.items()}
    text = json.dumps({**content.description, _TENSORS: digests}, allow_nan=False)
    # One entry, because safetensors writes several in an order that changes from run to run.
    save_file(tensors, path, {f"{_NAME} {_FORMAT}": f"{_digest(text.encode())} {text}"})


def read_file(path: Path) -> Content:
    """Reads a file whole, though another program may replace it meanwhile, and verifies all of it.

    Raises NestError: N0003 if there is none or it cannot be read, N0502 if it is damaged.
    """
    try:
        read = read_tensors(path)
        return _verified(read)
    except FileNotFoundError as error:
        raise fail("N0003", f"there is no checkpoint `{path}`", _NOT_THERE) from error
    except NotAFile as error:
        raise fail("N0003", f"there is no checkpoint `{path}`: it {error.strerror}", _NOT_THERE) from error
    except OSError as error:
        raise fail("N0003", f"cannot read `{path}`: {error.strerror}", _NOT_THERE) from error
    except ValueError as error:
        hint = "it is damaged or was written by another program; start a new run"
        raise fail("N0502", f"`{path}` is not a whole checkpoint: {error}", hint) from error


def step_in(path: Path) -> int | None:
    """The step that a file says it is of; None for anything but a checkpoint. Tensors are not looked at."""
    try:
        step = _description(read_metadata(path))["progress"]["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return step if type(step) is int and step >= 0 else None


_NOT_THERE = "give the folder that `nestdsl train` wrote with --out"


def _verified(read: Read) -> Content:
    """The content of what was read. Raises ValueError where it is not as it was written."""
    tensors, description = read.tensors, _description(read.metadata)
    digests = description.pop(_TENSORS, None)
    if not isinstance(digests, dict):
        raise ValueError("it has no checksums")
    for name in [*tensors, *digests]:
        if name not in tensors:
            raise ValueError(f"the tensor {name!a} is missing")
        if name not in digests:
            raise ValueError(f"the tensor {name!a} does not belong to it")
    for name, tensor in tensors.items():
        if _digest_of(name, tensor) != digests[name]:
            raise ValueError(f"the tensor {name!a} is not as it was written")
    return Content(tensors, description)


def _description(metadata: Mapping[str, str]) -> dict[str, Any]:
    known = f"{_NAME} {_FORMAT}"
    if set(metadata) != {known}:
        ours = sorted(key for key in metadata if key.startswith(_NAME))
        found = f"the format `{ours[0]}`" if ours else "no mark of nestdsl"
        raise ValueError(f"it has {found}; this nestdsl reads `{known}`")
    digest, _, text = metadata[known].partition(" ")
    if _digest(text.encode("utf-8", "surrogatepass")) != digest:
        raise ValueError("its description is not as it was written")
    try:
        description = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError("its description is no JSON") from error
    if not isinstance(description, dict):
        raise ValueError("its description has no fields")
    return description


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number of JSON")


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _digest_of(name: str, tensor: torch.Tensor) -> str:
    """The digest of a tensor on the CPU: of its name, type, shape and numbers."""
    head = json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode()
    digest = hashlib.blake2b(head, digest_size=16)
    digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
