"""First values of weights from files."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import nn

from nestdsl.diagnostics import fail
from nestdsl.plan.plan import WeightsPlan
from nestdsl.runtime.checksums import has_checksums, verify_tensors
from nestdsl.runtime.learning.plastic import Plastic
from nestdsl.runtime.tensors_file import read_tensors
from nestdsl.weights import UnreadableError, fits, stored


def load_weights(model: nn.Module, weights: tuple[WeightsPlan, ...]) -> None:
    """Gives levels the values that the plan says. Raises NestError N0003 or N0502 if they are not there."""
    wanted: dict[str, list[tuple[str, torch.Tensor]]] = defaultdict(list)
    for level in weights:
        module = model.get_submodule(level.module)
        module = module.layer if isinstance(module, Plastic) else module
        own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        try:
            tensors = stored(level.file)
        except UnreadableError as error:
            raise fail("N0003" if error.is_missing else "N0502", str(error), _HINT) from error
        for name, tensor in level.tensors:
            if str(tensor) not in tensors or name not in own:
                raise fail("N0502", f"`{level.file}` has no tensor `{tensor}` any more", _HINT)
            wanted[tensors[str(tensor)].file].append((str(tensor), own[name]))
    for file, targets in wanted.items():
        _load(file, targets)


_HINT = "compile the program again, with the file where it was"
_HINT_NUMBERS = "a model cannot start from infinity or from what is not a number: take another file"


def _load(file: str, targets: list[tuple[str, torch.Tensor]]) -> None:
    try:
        read = read_tensors(file, {name for name, _ in targets})
        if has_checksums(read.metadata):  # a checkpoint of ours
            verify_tensors(read.metadata, read.tensors, all=False)
    except (OSError, ValueError) as error:
        raise fail("N0502", f"cannot read `{file}`: {error}", _HINT) from error
    with torch.no_grad():
        for name, target in targets:
            value = read.tensors[name]
            if not fits(tuple(value.shape), tuple(target.shape)):
                raise fail("N0502", f"`{name}` of `{file}` has another shape now", _HINT)
            if not bool(value.isfinite().all()):
                raise fail("N0502", f"`{name}` of `{file}` has numbers that are not finite", _HINT_NUMBERS)
            target.copy_(value.reshape(target.shape))
