"""Computing in float32 at least, whatever precision a model has and whatever autocast rounds."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nestdsl.runtime.functions import at_least_float32


def precise(layer: nn.Module, x: Tensor) -> Tensor:
    """What a layer makes of x [batch, tokens, size], in float32 at least. The layer must be of a kind that
    computes in its input's precision where that is higher than its weights'."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(at_least_float32(x))


def rounded(x: Tensor, like: Tensor) -> Tensor:
    """x in the precision of another flow."""
    return x.to(like.dtype)


def precision(beside: torch.dtype) -> torch.dtype:
    """That of numbers beside a flow of this type, where they drive a memory."""
    return torch.promote_types(beside, torch.float32)


CASTS: dict[str, Callable] = {
    "float32": at_least_float32,
    "precision": precision,
    "precise": precise,
    "rounded": rounded,
}
"""What a model's source calls beside the functions of the language (`arguments.py`)."""
