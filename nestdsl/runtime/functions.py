"""What the functions and operators of a flow compute. Flows are `[batch, tokens, size]`.

`nestdsl/library/signatures.py` declares the same names; a flow of size 1 broadcasts over the
features of another. Functions of optimizers alone are not here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, in float32 if its own precision is lower: for sums whose rounding would show."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def precise(layer: nn.Module, x: Tensor) -> Tensor:
    """What a layer makes of x [batch, tokens, size], in float32 at least, whatever autocast rounds. The layer
    must be of a kind that computes in its input's precision where that is higher than its weights'."""
    with torch.autocast(x.device.type, enabled=False):
        return layer(at_least_float32(x))


def precision_beside(module: nn.Module, flow: Tensor, *, precise: bool = False) -> torch.dtype:
    """That of numbers which stand beside a flow: its own, or beside ids that of a module's weights; if
    precise, float32 at least."""
    weights = (weight.dtype for weight in module.parameters())
    kind = flow.dtype if flow.is_floating_point() else next(weights, torch.get_default_dtype())
    return torch.promote_types(kind, torch.float32) if precise else kind


def split_heads(x: Tensor, heads: int) -> Tensor:
    """`[..., size]` to `[..., heads, size / heads]`. Raises RuntimeError if `heads` does not divide."""
    return x.unflatten(-1, (heads, -1))


def l2_normalize(x: Tensor, heads: int = 1, eps: float = 1e-6) -> Tensor:
    """x / sqrt(sum x^2 + eps) for each head's part; smooth at zero, unlike x / max(|x|, eps)."""
    parts = split_heads(at_least_float32(x), heads)
    length_squared = parts.square().sum(-1, keepdim=True)
    return (parts * torch.rsqrt(length_squared + eps)).flatten(-2).to(x.dtype)


def softmax(x: Tensor, heads: int = 1) -> Tensor:
    """Softmax over the features of each head's part."""
    return torch.softmax(split_heads(x, heads), dim=-1).flatten(-2)


def stop(x: Tensor) -> Tensor:
    """The same value, through which no gradient passes."""
    return x.detach()


def constant(value: float, like: Tensor, dtype: torch.dtype) -> Tensor:
    """The same number at every token of a flow: [B, T, ...] -> [B, T, 1]."""
    return torch.full((*like.shape[:2], 1), value, dtype=dtype, device=like.device)


def spread(like: Tensor, dtype: torch.dtype, *, first: float, last: float, size: int) -> Tensor:
    """`size` evenly spaced numbers from `first` to `last`, as torch.linspace makes them (of size 1: `first`),
    at every token of a flow: [B, T, ...] -> [B, T, size]."""
    numbers = torch.linspace(first, last, size, dtype=dtype, device=like.device)
    # A copy for each token, laid out as other flows are: code that is compiled for those fits it.
    return numbers.expand(*like.shape[:2], size).contiguous()


def concat(*flows: Tensor) -> Tensor:
    """Flows side by side: the sizes add."""
    return torch.cat(flows, dim=-1)


def dropout(x: Tensor, rate: float = 0.1, *, training: bool) -> Tensor:
    """Zeroes a share `rate` of the features and scales the rest by 1 / (1 - rate), if `training`.

    The one function that needs its module's training flag: the caller hands it over.
    """
    return F.dropout(x, rate, training=training)


# Operators take tensors and plain numbers; the rest take a flow first, then compile-time arguments.
FUNCTIONS: dict[str, Callable] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "power": operator.pow,
    "negate": operator.neg,
    "l2_normalize": l2_normalize,
    "silu": F.silu,
    "gelu": F.gelu,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "tanh": torch.tanh,
    "sqrt": torch.sqrt,
    "exp": torch.exp,
    "abs": torch.abs,
    "sign": torch.sign,
    "softmax": softmax,
    "stop": stop,
    "concat": concat,
    "dropout": dropout,
    "constant": constant,
    "spread": spread,
}
