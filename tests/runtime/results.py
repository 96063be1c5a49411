"""What memories give back, compared: values, and the gradients of everything they hang on."""

from __future__ import annotations

import torch
from torch import Tensor


def gradients(results: dict[str, Tensor], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a fixed random weighing of everything the memory gave back."""
    generator = torch.Generator().manual_seed(7)
    total = torch.zeros((), dtype=torch.float64)
    for name in sorted(results):
        if results[name].is_floating_point():
            weights = torch.randn(results[name].shape, generator=generator, dtype=torch.float64)
            total = total + (weights * results[name]).sum()
    found = torch.autograd.grad(total, list(inputs.values()), allow_unused=True)
    return {
        name: torch.zeros_like(tensor) if grad is None else grad
        for (name, tensor), grad in zip(inputs.items(), found, strict=True)
    }


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(
            left[name],
            right[name],
            rtol=tolerance,
            atol=tolerance,
            msg=lambda text, name=name: f"{name}: {text}",
        )
