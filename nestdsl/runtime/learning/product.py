"""The product of each row with its own matrix, or with the shared one as long as that is the same.

A matrix of each row's own is read for that row's few tokens alone, which takes two to three times as long as
one product for all rows. Until a level has moved, its rows' matrices are all the shared start.

An operator of our own: which of the two it is changes while a sequence is read, and would otherwise be a part
of what is compiled.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_library = torch.library.Library("nestdsl", "FRAGMENT")
_library.define("row_product(Tensor x, Tensor rows, Tensor shared, Tensor is_own) -> Tensor")


def row_product(x: Tensor, rows: Tensor, shared: Tensor, is_own: Tensor) -> Tensor:
    """x W for x [B, T, I]: [B, T, O]. Differentiable with respect to x alone.

    rows: W of each row [B, I, O]; shared: the same for all of them [I, O]; is_own: which of the two counts, a
    truth value on the CPU without dimensions. Both are taken in the precision of x.
    """
    return torch.ops.nestdsl.row_product(x, rows, shared, is_own)


def _product(x: Tensor, rows: Tensor, shared: Tensor, is_own: Tensor) -> Tensor:
    if is_own.item():
        return torch.bmm(x, rows.to(x.dtype))
    return torch.mm(x.reshape(-1, x.shape[-1]), shared.to(x.dtype)).view(*x.shape[:-1], -1)


def _fake(x: Tensor, rows: Tensor, shared: Tensor, is_own: Tensor) -> Tensor:
    return x.new_empty(*x.shape[:-1], rows.shape[-1])


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
    """dx = dy Wᵀ."""
    rows, shared, is_own = ctx.saved_tensors
    return row_product(gradient, rows.mT, shared.mT, is_own), None, None, None


_library.impl("row_product", _product, "CompositeExplicitAutograd")
torch.library.register_fake("nestdsl::row_product", _fake, lib=_library)
torch.library.register_autograd("nestdsl::row_product", _backward, setup_context=_save, lib=_library)
