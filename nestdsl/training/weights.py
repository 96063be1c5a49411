"""Whether weights that were read are those of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from nestdsl.runtime.likeness import difference

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule

Tensors = Mapping[str, torch.Tensor]


def odd_weight(weights: Tensors, model: NestModule) -> str:
    """What is odd about the first weight that is not as the model has it, or is not finite; empty if none is.

    Buffers may hold infinities: masks are made of them.
    """
    wanted = model.state_dict()
    trained = {name for name, _ in model.named_parameters()}
    for name in weights:
        if name not in wanted:
            return f"{name!a} is of no level"
    for name, weight in wanted.items():
        if found := difference(name, weights.get(name), weight):
            return found
        if name in trained and not bool(weights[name].isfinite().all()):
            return f"`{name}` has numbers that are not finite"
    return ""
