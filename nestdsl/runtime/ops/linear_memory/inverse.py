"""The inverse of unit lower triangular matrices, many small ones at once."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.operator import differentiable, gives_like

BLOCK = 16


@torch.library.custom_op("nestdsl::unit_lower_inverse", mutates_args=())
def _unit_lower_inverse(strict: Tensor) -> Tensor:
    """(I + L)⁻¹ [M, C, C] for L = `strict` [M, C, C], which must be zero on and above the diagonal.

    C is at most 16 or a multiple of 16. An operator of our own, because the dozens of small steps of
    `substitute` would only swell a compiled graph.
    """
    return inverse(strict)


gives_like(_unit_lower_inverse, "strict")


def _save(ctx, inputs: tuple[Tensor], output: Tensor) -> None:
    ctx.save_for_backward(output)


def _backward(ctx, grad: Tensor) -> Tensor:
    """d(A⁻¹) = -A⁻¹ dA A⁻¹, for the part of A that is free."""
    (inverse,) = ctx.saved_tensors
    transposed = inverse.transpose(-1, -2)
    return -(transposed @ grad @ transposed).tril(-1)


unit_lower_inverse = differentiable(_unit_lower_inverse, _backward, _save)


def inverse(strict: Tensor) -> Tensor:
    """What `unit_lower_inverse` computes, without derivatives.

    By forward substitution, which keeps float32 at 1e-7 where a Neumann series loses digits. On a CPU, BLAS's
    takes a fifth to a third of the time of `substitute`, for blocks of 16 to 64 tokens on one thread.
    """
    if strict.device.type != "cpu":
        return substitute(strict)
    # The solution comes by columns: for the transposed system they are the inverse's rows.
    unit = torch.eye(strict.shape[-1], dtype=strict.dtype).expand_as(strict)
    solved = torch.linalg.solve_triangular(strict.mT, unit, upper=True, unitriangular=True)
    return solved.mT.contiguous()


def substitute(strict: Tensor) -> Tensor:
    """By 16 × 16 blocks: forward substitution inside, matrix products outside."""
    size = strict.shape[-1]
    if size == 1:
        return torch.ones_like(strict)
    if size <= BLOCK:
        return _small(strict)
    count = size // BLOCK
    grid = [row.split(BLOCK, -1) for row in strict.split(BLOCK, -2)]
    diagonal = _small(torch.cat([grid[i][i] for i in range(count)])).chunk(count)
    rows: list[Tensor] = []
    for i in range(count):
        row = [diagonal[i]]
        if i > 0:
            left = torch.cat(grid[i][:i], -1)
            above = torch.cat(rows, -2)[..., : i * BLOCK]
            row.insert(0, -(diagonal[i] @ (left @ above)))
        if i < count - 1:
            row.append(strict.new_zeros(*strict.shape[:-2], BLOCK, (count - 1 - i) * BLOCK))
        rows.append(torch.cat(row, -1))
    return torch.cat(rows, -2)


def _small(strict: Tensor) -> Tensor:
    """Forward substitution, row by row: x_i = 1_i - Σ_{j<i} L_ij x_j."""
    size = strict.shape[-1]
    unit = torch.eye(size, dtype=strict.dtype, device=strict.device)
    done = unit[:1].expand(strict.shape[0], 1, size)
    for i in range(1, size):
        row = torch.baddbmm(unit[i : i + 1], strict[:, i : i + 1, :i], done, alpha=-1)
        done = torch.cat((done, row), 1)
    return done
