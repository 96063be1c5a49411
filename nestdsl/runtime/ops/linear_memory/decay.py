"""Products of retain factors between the tokens of one block, in log space."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

# Small enough to vanish beside any state, large enough that its logarithm costs no digits.
FLOOR = 1e-20


def decay_matrix(retain: Tensor) -> Tensor:
    """D [..., C, C] with D_ts = α_{s+1} … α_t for s ≤ t (so 1 on the diagonal), else 0.

    α [..., C] is from 0 to 1. Each logarithm is summed for itself instead of as a difference of running sums,
    and α = 0 is raised to `FLOOR` with its gradient kept: no difference can cancel, neither forward nor when
    the gradient is divided by α, so small and zero factors are as exact as others.
    """
    raised = retain + (retain.clamp_min(FLOOR) - retain).detach()
    size = retain.shape[-1]
    steps = raised.log().unsqueeze(-1).expand(*retain.shape, size).tril(-1)
    return steps.cumsum(-2).exp().tril()


def rows_before(decays: Tensor) -> Tensor:
    """D [..., C, C] with row t moved to row t + 1: what is left just before a token."""
    return F.pad(decays.narrow(-2, 0, decays.shape[-2] - 1), (0, 0, 1, 0))


def first_before(first: Tensor, share: float) -> Tensor:
    """The same of what is left of the block's start, first [..., C]; `share` of it before the first token."""
    return F.pad(first.narrow(-1, 0, first.shape[-1] - 1), (1, 0), value=share)
