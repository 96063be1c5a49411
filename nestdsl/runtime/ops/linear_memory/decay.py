"""Products of retain factors between the tokens of one block, in log space."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from nestdsl.runtime.ops.operator import differentiable

# Small enough to vanish beside any state, large enough that its logarithm costs no digits.
FLOOR = 1e-20


@torch.library.custom_op("nestdsl::decay_matrix", mutates_args=())
def _decay_matrix(retain: Tensor) -> Tensor:
    """D [..., C, C] with D_ts = α_{s+1} … α_t for s ≤ t (so 1 on the diagonal), else 0.

    α [..., C] is from 0 to 1. Each logarithm is summed for itself instead of as a difference of running sums,
    and α = 0 is raised to `FLOOR`; derivatives, of any order, are products of what D is made of, and nothing
    is divided by α. So no difference can cancel, and small and zero factors are as exact as others.
    """
    size = retain.shape[-1]
    steps = retain.clamp_min(FLOOR).log().unsqueeze(-1).expand(*retain.shape, size).tril(-1)
    return steps.cumsum(-2).exp_().tril_()


@_decay_matrix.register_fake
def _(retain: Tensor) -> Tensor:
    return retain.new_empty(*retain.shape, retain.shape[-1])


def _save(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(output)


def _backward(ctx: Any, given: Tensor) -> Tensor:
    """∂D_ts/∂α_j = D_tj D_{j-1,s} for s < j ≤ t, so α̇_j = Σ_t D_tj (Ḋ D⁻ᵀ)_tj with D⁻_js = D_{j-1,s}."""
    (decays,) = ctx.saved_tensors
    return (decays * (given @ rows_before(decays).transpose(-1, -2))).sum(-2)


decay_matrix = differentiable(_decay_matrix, _backward, _save)


def rows_before(decays: Tensor) -> Tensor:
    """D [..., C, C] with row t moved to row t + 1: what is left just before a token."""
    return F.pad(decays.narrow(-2, 0, decays.shape[-2] - 1), (0, 0, 1, 0))


def first_before(first: Tensor, share: float) -> Tensor:
    """The same of what is left of the block's start, first [..., C]; `share` of it before the first token."""
    return F.pad(first.narrow(-1, 0, first.shape[-1] - 1), (1, 0), value=share)
