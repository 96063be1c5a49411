"""A program with every elementwise function, and how its stages run as kernels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.testing import assert_close

from nestdsl.runtime.optimizer.constants import known_numbers
from nestdsl.runtime.optimizer.elementwise import EagerKernel, Kernel
from nestdsl.runtime.optimizer.lines import due_lines, steps_of, value_of
from nestdsl.runtime.optimizer.stages import Elementwise, stages_of
from tests.runtime.optimizer.programs import program

ALL = """
optimizer all(lr = 0.5) {
  level m = ema(0.9) { learn grad }
  level far = sum_of(0.5) { learn grad  every 2 steps }
  flow powers = abs(m) ** 1.5 + m ** 2 + m ** 3 + (1 + abs(m)) ** -1 + (1 + m * m) ** far
  flow curves = sigmoid(m) + softplus(30 * m) + silu(m) + gelu(m) + relu(m) + tanh(m) + exp(-m) + sqrt(abs(m))
  flow corners = max(m, 0.1) - min(m, -0.1) + clip(weight, 0.5) + soft_cap(far, 0.3) + sign(m) - stop(m)
  flow update = -lr * (powers + curves) / (2 + corners * corners) + far
}
"""


Make = Callable[[Elementwise, tuple[torch.dtype, ...], torch.dtype], Kernel]

SIZES = (7, 1, 0, 4096, 4097, 33_000)
"""Sizes on both sides of a block."""


def stage(step_count: int, text: str = ALL) -> Elementwise:
    """The only stage of an update."""
    one = program("all", text)
    (only,) = stages_of(steps_of(one, due_lines(one, step_count), decays=False))
    assert isinstance(only, Elementwise)
    return only


def run(
    stage: Elementwise, dtype: torch.dtype, make: Make, sizes: tuple[int, ...] = SIZES, device: str = "cpu"
) -> dict[str, list[Tensor]]:
    """The tensors of a stage, by name, after one run of its kernel; some elements are not finite."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.promote_types(dtype, torch.float32)
    types = tuple(dtype if name in ("grad", "weight") else kind for name in stage.tensors)
    tensors = [
        [torch.randn(size, generator=generator, dtype=torch.float64).to(type) for size in sizes]
        for type in types
    ]
    tensors[0][0][:3] = torch.tensor([float("nan"), float("inf"), 0.0])
    tensors = [[part.to(device) for part in one] for one in tensors]
    known = known_numbers(program("all", ALL), {"lr": 0.5}, 3, (1, 1)) | {"@scale": 1.0}
    make(stage, types, kind)(tensors, [], [value_of(given, known) for given in stage.given], len(sizes))
    return {name: [part.cpu() for part in one] for name, one in zip(stage.tensors, tensors, strict=True)}


def eager(stage: Elementwise, types: tuple[torch.dtype, ...], kind: torch.dtype) -> Kernel:
    """The stage operation by operation."""
    return EagerKernel(stage, kind)


def assert_is_eager(stage: Elementwise, dtype: torch.dtype, make: Make, device: str = "cpu") -> None:
    """Compares a kernel with the stage operation by operation."""
    found, expected = run(stage, dtype, make, device=device), run(stage, dtype, eager)
    for name, tensors in expected.items():
        for one, other in zip(found[name], tensors, strict=True):
            close = {torch.float64: 1e-11, torch.float32: 1e-4}.get(one.dtype, 0.02)
            close = close if dtype == torch.float64 else max(close, 1e-4)
            assert_close(one, other, rtol=close, atol=close, equal_nan=True)
    assert any(part.isnan().any() for part in found["weight"])
