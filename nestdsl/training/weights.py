"""Whether weights that were read are those of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule

Tensors = Mapping[str, torch.Tensor]


def odd_weight(weights: Tensors, model: NestModule) -> str:
    """What is odd about the first weight that is not as the model has it, or is not finite; empty if none is.

    Buffers may hold infinities: masks are made of them.
    """
    wanted = model.state_dict()
    trained = {name for name, _ in model.named_parameters()}
    for name in [*wanted, *weights]:
        if difference := difference_of(name, weights.get(name), wanted.get(name)):
            return difference
        if name in trained and not bool(weights[name].isfinite().all()):
            return f"`{name}` has numbers that are not finite"
    return ""


def difference_of(name: str, given: torch.Tensor | None, wanted: torch.Tensor | None) -> str:
    """How one tensor, by its name, differs in shape or type from the one that it should be."""
    if wanted is None:
        return f"{name!a} is of no level"
    if given is None:
        return f"`{name}` is missing"
    if given.shape != wanted.shape:
        return f"`{name}` is {list(given.shape)} there and {list(wanted.shape)} here"
    if given.dtype != wanted.dtype:
        return f"`{name}` is {_type(given)} there and {_type(wanted)} here"
    return ""


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
