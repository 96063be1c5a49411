"""Products of retain factors between the tokens of one block, in log space."""

from __future__ import annotations

from torch import Tensor

# Small enough to vanish beside any state, large enough that its logarithm costs no digits.
FLOOR = 1e-20


def decay_matrix(retain: Tensor) -> Tensor:
    """D [M, C, C] with D_ts = α_{s+1} … α_t for s ≤ t (so 1 on the diagonal), else 0, of α [M, C] in [0, 1].

    Each logarithm is summed for itself instead of as a difference of running sums, and α = 0 is
    raised to `FLOOR` with its gradient kept: no difference can cancel, neither forward nor when
    the gradient is divided by α, so small and zero factors are as exact as others.
    """
    raised = retain + (retain.clamp_min(FLOOR) - retain).detach()
    size = retain.shape[-1]
    steps = raised.log().unsqueeze(-1).expand(*retain.shape, size).tril(-1)
    return steps.cumsum(-2).exp().tril()
