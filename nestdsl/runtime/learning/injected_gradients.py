"""A loss whose gradients were gathered while it was computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def with_gradients(loss: Tensor, gradients: Mapping[nn.Parameter, Tensor]) -> Tensor:
    """The same value, whose gradient with respect to each weight is the one given for it."""
    known = [gradient.to(weight.dtype) for weight, gradient in gradients.items()]
    return _Gathered.apply(loss, known, *gradients)  # type: ignore[no-any-return]


class _Gathered(torch.autograd.Function):
    """A value whose gradient with respect to each weight is known."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, gradients: list[Tensor], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return loss.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return None, None, *(gradient * known for known in ctx.gradients)
