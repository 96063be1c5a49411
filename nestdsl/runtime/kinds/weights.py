"""What the kinds share: how a weight begins, and what is one value for each head."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def initialize(weight: Tensor, init: str, init_std: float, learned_std: float) -> None:
    """Fill a weight in place, from torch's default generator (the caller seeds it).

    `init` is "learned" (normal with `learned_std`, the kind's own good default), "zeros", or
    "normal" (normal with `init_std`). Raises ValueError for any other name.
    """
    with torch.no_grad():
        match init:
            case "learned":
                nn.init.normal_(weight, std=learned_std)
            case "zeros":
                nn.init.zeros_(weight)
            case "normal":
                nn.init.normal_(weight, std=init_std)
            case _:
                raise ValueError(f"unknown init {init!r}: write learned, zeros or normal")


def require_division(size: int, heads: int) -> None:
    """Raise ValueError unless `heads` equal parts make up `size` features."""
    if heads < 1 or size % heads:
        raise ValueError(f"heads = {heads} does not divide the size {size}")


def per_head(factor: float | Tensor, key: Tensor, heads: int) -> Tensor:
    """A step, retention or momentum for each head and token of key [B, T, size]: [B, T, heads].

    factor: a number, [B, T, heads] or [B, T, 1].
    """
    if not isinstance(factor, Tensor):
        kind = torch.promote_types(key.dtype, torch.float32)
        factor = torch.full((), factor, dtype=kind, device=key.device)
    return factor.expand(*key.shape[:2], heads)
