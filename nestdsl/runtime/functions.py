"""What the functions and operators of a flow compute. Flows are `[batch, tokens, size]`.

`nestdsl/vocabulary/functions.py` declares the same names; a flow of size 1 broadcasts over the
features of another. Functions of optimizers that see whole matrices are in `optimizer/functions.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

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


def soft_cap(x: Tensor, limit: float) -> Tensor:
    """limit · tanh(x / limit), element by element, as Gemma 2 caps its logits (Gemma Team 2024)."""
    return limit * torch.tanh(x / limit)


def concat(*flows: Tensor) -> Tensor:
    """Flows side by side: the sizes add."""
    return torch.cat(flows, dim=-1)


def dropout(x: Tensor, rate: float = 0.1, *, training: bool) -> Tensor:
    """Zeroes a share `rate` of the features and scales the rest by 1 / (1 - rate), if `training`.

    The one function that needs its module's training flag: the caller hands it over.
    """
    return F.dropout(x, rate, training=training)


class Pointwise(NamedTuple):
    """A function of which each element of the result depends on the elements in its place alone.

    torch: in flows, and in optimizers as well unless `in_optimizer` says otherwise. cpp, triton: in the
    kernels of optimizers, with operands as {0} and {1} and arguments by their names; the functions that they
    call stand in `optimizer/cpp.py` and `optimizer/gpu.py`.
    """

    torch: Callable[..., Any]
    cpp: str
    triton: str
    in_optimizer: Callable[..., Any] | None = None


def _root(x: Tensor) -> Tensor:
    """√x, whose derivative at 0 is 0: a weight that has had no gradient moves by its first as by m / eps."""
    if not torch.is_grad_enabled():
        return x.sqrt()
    is_there = x > 0
    return x.where(is_there, 1.0).sqrt().where(is_there, 0.0)


def _sign(x: Tensor) -> Tensor:
    """-1, 0 or 1, and not a number where x is none."""
    return x.sign().where(~x.isnan(), x)


def maximum(x: Tensor | float, y: Tensor | float) -> Tensor:
    """The larger of two, element by element."""
    return torch.maximum(*_both(x, y))


def minimum(x: Tensor | float, y: Tensor | float) -> Tensor:
    """The smaller of two, element by element."""
    return torch.minimum(*_both(x, y))


def clip(x: Tensor, limit: Tensor | float) -> Tensor:
    """x brought between -limit and limit, element by element."""
    return minimum(maximum(x, -limit), limit)


def _both(x: Tensor | float, y: Tensor | float) -> tuple[Tensor, Tensor]:
    """Two operands as tensors; one of them may be a number."""
    if not isinstance(x, Tensor):
        assert isinstance(y, Tensor)
        return y.new_tensor(x), y
    return x, y if isinstance(y, Tensor) else x.new_tensor(y)


_CLIPPED = "smaller(larger({0}, -{1}), {1})"

POINTWISE: dict[str, Pointwise] = {
    "zero": Pointwise(torch.zeros_like, "T(0)", "tl.full([BLOCK], 0.0, T)"),
    "add": Pointwise(operator.add, "{0} + {1}", "{0} + {1}"),
    "subtract": Pointwise(operator.sub, "{0} - {1}", "{0} - {1}"),
    "multiply": Pointwise(operator.mul, "{0} * {1}", "{0} * {1}"),
    "divide": Pointwise(operator.truediv, "{0} / {1}", "{0} / {1}"),
    "power": Pointwise(operator.pow, "std::pow({0}, {1})", "libdevice.pow({0}, {1})"),
    "negate": Pointwise(operator.neg, "-{0}", "-{0}"),
    "stop": Pointwise(stop, "{0}", "{0}"),
    "sqrt": Pointwise(torch.sqrt, "std::sqrt({0})", "tl.sqrt({0})", _root),
    "exp": Pointwise(torch.exp, "std::exp({0})", "tl.exp({0})"),
    "abs": Pointwise(torch.abs, "std::abs({0})", "tl.abs({0})"),
    "sign": Pointwise(torch.sign, "sign({0})", "sign({0})", _sign),
    "tanh": Pointwise(torch.tanh, "std::tanh({0})", "tanh({0})"),
    "sigmoid": Pointwise(torch.sigmoid, "sigmoid({0})", "1 / (1 + tl.exp(-{0}))"),
    "softplus": Pointwise(F.softplus, "softplus({0})", "softplus({0})"),
    "silu": Pointwise(F.silu, "silu({0})", "{0} / (1 + tl.exp(-{0}))"),
    "gelu": Pointwise(F.gelu, "gelu({0})", "{0} * (1 + tl.erf({0} * 0.7071067811865476)) / 2"),
    "relu": Pointwise(F.relu, "relu({0})", "larger({0}, 0.0)"),
    "soft_cap": Pointwise(soft_cap, "{limit} * std::tanh({0} / {limit})", "{limit} * tanh({0} / {limit})"),
    "max": Pointwise(maximum, "larger({0}, {1})", "larger({0}, {1})"),
    "min": Pointwise(minimum, "smaller({0}, {1})", "smaller({0}, {1})"),
    "clip": Pointwise(clip, _CLIPPED, _CLIPPED),
}

_OF_OPTIMIZERS = ("zero", "max", "min", "clip")

# Operators take tensors and plain numbers; the rest take a flow first, then compile-time arguments.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: row.torch for name, row in POINTWISE.items() if name not in _OF_OPTIMIZERS},
    "l2_normalize": l2_normalize,
    "softmax": softmax,
    "concat": concat,
    "dropout": dropout,
    "constant": constant,
    "spread": spread,
}
