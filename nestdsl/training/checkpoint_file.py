"""One checkpoint file: tensors and a description, a file of safetensors with checksums over all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from nestdsl.diagnostics import fail
from nestdsl.files import NotAFileError
from nestdsl.runtime.checksums import described, description_in, verify_tensors
from nestdsl.runtime.tensors_file import read_metadata, read_tensors


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: tensors by name, and the rest as plain data."""

    tensors: Mapping[str, torch.Tensor]
    description: Mapping[str, Any]


def write_file(path: Path, content: Content) -> None:
    """Writes a new file. Raises OSError or SafetensorError."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in content.tensors.items()}
    save_file(tensors, path, described(content.description, tensors))


def read_file(path: Path) -> Content:
    """Reads a file whole, though another program may replace it meanwhile, and verifies all of it.

    Raises NestError: N0003 if there is none or it cannot be read, N0502 if it is damaged.
    """
    try:
        read = read_tensors(path)
        verify_tensors(read.metadata, read.tensors, all=True)
        return Content(read.tensors, description_in(read.metadata))
    except FileNotFoundError as error:
        raise fail("N0003", f"there is no checkpoint `{path}`", _NOT_THERE) from error
    except NotAFileError as error:
        raise fail("N0003", f"there is no checkpoint `{path}`: it {error.strerror}", _NOT_THERE) from error
    except OSError as error:
        raise fail("N0003", f"cannot read `{path}`: {error.strerror}", _NOT_THERE) from error
    except ValueError as error:
        hint = "put a whole copy of the file in its place, or start a new run with another --out"
        raise fail("N0502", f"`{path}` is not a whole checkpoint: {error}", hint) from error


_NOT_THERE = "give the folder that `nestdsl train` wrote with --out"


def step_in(path: Path) -> int | None:
    """The step that a file says it is of; None for anything but a checkpoint. Tensors are not looked at."""
    try:
        step = description_in(read_metadata(path))["progress"]["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return step if type(step) is int and step >= 0 else None
