"""Checksums over all that a checkpoint holds: its description, and each tensor by name, type and shape.

One entry of metadata, `nestdsl checkpoint 2`, has the digest of the description, a space, and the description
as JSON; `tensors` in it has the digest of each tensor. So no bit of a tensor, nor a whole one, can change,
come or go unnoticed. Digests find damage. They do not help against somebody who computes them again: what is
read is checked as well.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch

_NAME = "nestdsl checkpoint"
_KEY = f"{_NAME} 2"
_TENSORS = "tensors"

Tensors = Mapping[str, torch.Tensor]


def described(description: Mapping[str, Any], tensors: Tensors) -> dict[str, str]:
    """The metadata of a file with these tensors, all on the CPU."""
    digests = {name: _of_tensor(name, tensor) for name, tensor in tensors.items()}
    text = json.dumps({**description, _TENSORS: digests}, allow_nan=False)
    # One entry, because safetensors writes several in an order that changes from run to run.
    return {_KEY: f"{_of_bytes(text.encode())} {text}"}


def has_checksums(metadata: Mapping[str, str]) -> bool:
    """Whether a file says that it is a checkpoint of this format."""
    return _KEY in metadata


def description_in(metadata: Mapping[str, str]) -> dict[str, Any]:
    """The description, without digests. Raises ValueError where it is not as it was written."""
    return _parsed(metadata)[0]


def verify_tensors(metadata: Mapping[str, str], tensors: Tensors, *, all: bool) -> None:
    """Raises ValueError for a tensor that is not as it was written.

    all: these are all of the file: none may be missing.
    """
    digests = _parsed(metadata)[1]
    for name, tensor in tensors.items():
        if name not in digests:
            raise ValueError(f"the tensor {name!a} does not belong to it")
        if _of_tensor(name, tensor) != digests[name]:
            raise ValueError(f"the tensor {name!a} is not as it was written")
    missing = [name for name in digests if name not in tensors]
    if all and missing:
        raise ValueError(f"the tensor {missing[0]!a} is missing")


def _parsed(metadata: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The description and the digests of tensors."""
    if set(metadata) != {_KEY}:
        ours = sorted(key for key in metadata if key.startswith(_NAME))
        found = f"the format {ours[0]!a}" if ours else "no mark of nestdsl"
        raise ValueError(f"it has {found}; this nestdsl reads `{_KEY}`")
    digest, _, text = metadata[_KEY].partition(" ")
    if _of_bytes(text.encode("utf-8", "surrogatepass")) != digest:
        raise ValueError("its description is not as it was written")
    try:
        description = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError("its description is no JSON") from error
    digests = description.pop(_TENSORS, None) if isinstance(description, dict) else None
    if not isinstance(digests, dict):
        raise ValueError("it has no checksums")
    return description, digests


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number of JSON")


def _of_bytes(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _of_tensor(name: str, tensor: torch.Tensor) -> str:
    head = json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode()
    digest = hashlib.blake2b(head, digest_size=16)
    digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
