"""The functions of an optimizer's lines, on matrices [..., rows, columns].

What one weight has is its last two dimensions; those before them are weights, or matrices, side by
side. One number for each of them is [..., 1, 1], or a plain number. All can be differentiated
through, at zero as well: an update in context is a part of the forward pass.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nestdsl.runtime.functions import POINTWISE
from nestdsl.runtime.optimizer.precision import fast_precision
from nestdsl.vocabulary.functions import AUTO

_QUINTIC = (3.4445, -4.7750, 2.0315)
_SMALLEST_NORM = 1e-7


def as_matrices(x: Tensor, batch: int = 0) -> Tensor:
    """Weights [*batch, *shape] as matrices: a vector is one row, a single number one element."""
    match x.ndim - batch:
        case 0:
            return x[..., None, None]
        case 1:
            return x.unsqueeze(-2)
        case _:
            return x


def norm(x: Tensor) -> Tensor:
    """√(sum of squares), one for each matrix."""
    return torch.linalg.vector_norm(x, dim=(-2, -1), keepdim=True)


def rms(x: Tensor) -> Tensor:
    """√(mean of squares), one for each matrix."""
    return norm(x) * (x.shape[-2] * x.shape[-1]) ** -0.5


def mean(x: Tensor) -> Tensor:
    """The mean of the elements, one for each matrix."""
    return x.mean(dim=(-2, -1), keepdim=True)


def trace(x: Tensor) -> Tensor:
    """The sum of the diagonal, one for each matrix."""
    # `diagonal` has no sizes that a graph for all sizes could take.
    on_diagonal = torch.eye(x.shape[-2], x.shape[-1], dtype=torch.bool, device=x.device)
    return x.where(on_diagonal, 0.0).sum(dim=(-2, -1), keepdim=True)


def normalize(x: Tensor) -> Tensor:
    """x / ‖x‖; zero stays zero."""
    return _divided(x, norm(x))


def rms_match(x: Tensor, rms: float = 0.2) -> Tensor:
    """x scaled to the root mean square `rms`; zero stays zero."""
    return _divided(x, norm(x)) * (rms * (x.shape[-2] * x.shape[-1]) ** 0.5)


def without_zero(x: Tensor) -> Tensor:
    """x, and 1 where it is 0: what a matrix is divided by that stays zero where it is zero."""
    return x.masked_fill(x == 0, 1.0)


def rms_match_divisor(x: Tensor, rms: float = 0.2) -> Tensor:
    """By what x is divided in `rms_match`, one for each matrix."""
    return without_zero(norm(x)) / (rms * (x.shape[-2] * x.shape[-1]) ** 0.5)


def _divided(x: Tensor, by: Tensor) -> Tensor:
    # What is not finite must show: only a true zero is replaced.
    return (x / without_zero(by)).masked_fill(by == 0, 0.0)


def outer(a: Tensor, b: Tensor | None = None) -> Tensor:
    """a bᵀ; of one flow a aᵀ."""
    return a @ (a if b is None else b).mT


def newton_schulz(x: Tensor, steps: int = 5, precision: str = AUTO) -> Tensor:
    """The singular values of each matrix brought near 1, by `steps` of Muon's quintic (Jordan et al., 2024)

        X ← a X + b (X Xᵀ) X + c (X Xᵀ)² X,    from X / max(‖X‖, 1e-7)

    on the matrix or its transpose, whichever is wide. With `precision` "bfloat16" it runs in that,
    as torch.optim.Muon does, unless x is in float64; "auto" takes what is fast on the device of x.
    """
    if precision == AUTO:
        precision = fast_precision((x.device,))
    kind = torch.bfloat16 if precision == "bfloat16" and x.dtype != torch.float64 else x.dtype
    is_tall = x.shape[-2] > x.shape[-1]
    y = (x.mT if is_tall else x).to(kind)
    y = y / torch.linalg.vector_norm(y, dim=(-2, -1), keepdim=True).clamp(min=_SMALLEST_NORM)
    a, b, c = _QUINTIC
    stacked = y if y.ndim == 2 else y.reshape(-1, *y.shape[-2:])
    for _ in range(steps):
        gram = stacked @ stacked.mT
        stacked = _added(stacked, _added(gram, gram, gram, b, c), stacked, a, 1.0)
    y = stacked.reshape(y.shape).to(x.dtype)
    return y.mT if is_tall else y


def _added(x: Tensor, left: Tensor, right: Tensor, beta: float, alpha: float) -> Tensor:
    """beta x + alpha left right, rounded once."""
    if x.ndim == 2:
        return torch.addmm(x, left, right, beta=beta, alpha=alpha)
    return torch.baddbmm(x, left, right, beta=beta, alpha=alpha)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: row.in_optimizer or row.torch for name, row in POINTWISE.items()},
    "debias": operator.truediv,
    "norm": norm,
    "rms": rms,
    "mean": mean,
    "trace": trace,
    "normalize": normalize,
    "rms_match": rms_match,
    "outer": outer,
    "transpose": lambda x: x.mT,
    "matmul": operator.matmul,
    "newton_schulz": newton_schulz,
}
