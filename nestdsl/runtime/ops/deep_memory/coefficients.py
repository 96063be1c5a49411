"""The factors of a two-layer memory that depend on keys, steps and decays only, for all chunks at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from nestdsl.runtime.ops.deep_memory.rule import DeepRule
from nestdsl.runtime.ops.deep_memory.step import Chunk
from nestdsl.runtime.ops.deep_memory.windows import Flows
from nestdsl.runtime.ops.linear_memory.decay import decay_matrix
from nestdsl.runtime.ops.linear_memory.inverse import BLOCK, unit_lower_inverse


class Coefficients(NamedTuple):
    """How much of the chunk's start and of each token's write is left at each token of a chunk.

    decays D [N, P, W, W], first γ [N, P, W, 1]; spread P [N, P, W, W], of what passes through the momentum (D
    itself without), moving c [N, P, W, 1], of the momentum at the chunk's start (None without).
    """

    decays: Tensor
    first: Tensor
    spread: Tensor
    moving: Tensor | None

    def before(self) -> Coefficients:
        """The same one token earlier: for reads that do not see their own token's write."""
        spread = self.spread if self.spread is self.decays else _delay(self.spread)
        decays = _delay(self.decays)
        return Coefficients(
            decays,
            _delay(self.first, 1.0),
            decays if self.spread is self.decays else spread,
            None if self.moving is None else _delay(self.moving),
        )


def _delay(rows: Tensor, fill: float = 0.0) -> Tensor:
    """Row t becomes row t + 1; the first is `fill`."""
    return F.pad(rows.narrow(-2, 0, rows.shape[-2] - 1), (0, 0, 1, 0), value=fill)


def coefficients(
    flows: Flows, member: Tensor, home: Tensor | None, rule: DeepRule
) -> tuple[Coefficients, Chunk]:
    """The factors at each token, and what `advance` needs, stacked over chunks in front.

    flows: laid out in windows; member [N, 1 or P, W]: tokens that are none write and decay nothing;
    home [P, K, D]: the inner weights that α decays to, None for zero.
    """
    keys, values, step, retain, momentum = flows
    steps = torch.where(member, rule.effective_step(step, keys), 0.0).unsqueeze(-1)
    decays, first = _products(torch.where(member, retain, 1.0))
    factors = Coefficients(decays, first, decays, None)
    chunk = Chunk(keys, values, steps, _last(first), _last(decays).transpose(-1, -2))
    if rule.has_momentum:
        kept, left = _products(torch.where(member, momentum, 1.0))
        reached = decays * member.unsqueeze(-2)
        factors = Coefficients(decays, first, reached @ kept, reached @ left)
        chunk = chunk._replace(
            written=_last(factors.spread).transpose(-1, -2),
            moved=_last(reached @ left),
            kept=_last(kept).transpose(-1, -2),
            left=_last(left),
        )
    if not rule.decays_along_key:
        return factors, chunk

    earlier = factors.before()
    gram = steps * (keys @ keys.transpose(-1, -2))
    solve = _inverse(earlier.decays * gram)
    chunk = chunk._replace(
        decays=_last(decays).transpose(-1, -2), mix=solve, answers=solve @ (steps * earlier.first * keys)
    )
    if earlier.moving is not None:
        chunk = chunk._replace(
            mix=-(solve @ (earlier.spread * gram)),
            momentum_answers=solve @ (steps * earlier.moving * keys),
        )
    if home is not None:
        chunk = chunk._replace(source=solve @ (steps * (1 - earlier.first) * (keys @ home)))
    return factors, chunk


def _products(factor: Tensor) -> tuple[Tensor, Tensor]:
    """D [N, P, W, W] and γ [N, P, W, 1] of factors [N, P, W]."""
    matrix = decay_matrix(factor.flatten(0, 1)).unflatten(0, factor.shape[:2])
    return matrix, matrix[..., :1] * factor[..., :1, None]


def _last(rows: Tensor) -> Tensor:
    return rows.narrow(-2, rows.shape[-2] - 1, 1)


def _inverse(strict: Tensor) -> Tensor:
    """(I + L)⁻¹ for strictly lower triangular L [N, P, W, W] of any W."""
    size = strict.shape[-1]
    missing = -size % BLOCK if size > BLOCK else 0
    flat = F.pad(strict.flatten(0, 1), (0, missing, 0, missing))
    return unit_lower_inverse(flat)[..., :size, :size].unflatten(0, strict.shape[:2])
