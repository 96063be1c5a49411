"""Compiled kernels compute what the same stages compute operation by operation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from nestdsl.runtime.optimizer import cpp
from nestdsl.runtime.optimizer.constants import known_numbers
from nestdsl.runtime.optimizer.elementwise import EagerKernel
from nestdsl.runtime.optimizer.expressions import C_LIKE
from nestdsl.runtime.optimizer.lines import due_lines, steps_of, value_of
from nestdsl.runtime.optimizer.stages import ELEMENTWISE, Elementwise, stages_of
from tests.runtime.optimizer.programs import program

ALL = """
optimizer all(lr = 0.5) {
  level m = ema(0.9) { learn grad }
  level far = sum_of(0.5) { learn grad  every 2 steps }
  flow powers = abs(m) ** 1.5 + m ** 2 + m ** 3 + (1 + abs(m)) ** -1 + (1 + m * m) ** far
  flow curves = sigmoid(m) + softplus(30 * m) + silu(m) + gelu(m) + relu(m) + tanh(m) + exp(-m) + sqrt(abs(m))
  flow corners = max(m, 0.1) - min(m, -0.1) + clip(weight, 0.5) + sign(m) - stop(m)
  flow update = -lr * (powers + curves) / (2 + corners * corners) + far
}
"""


def stage(step_count: int) -> Elementwise:
    one = program("all", ALL)
    (only,) = stages_of(steps_of(one, due_lines(one, step_count), decays=False))
    assert isinstance(only, Elementwise)
    return only


def run(
    stage: Elementwise, dtype: torch.dtype, sizes: tuple[int, ...], *, compiled: bool
) -> tuple[list[str], list[list[Tensor]]]:
    generator = torch.Generator().manual_seed(0)
    kind = torch.promote_types(dtype, torch.float32)
    types = tuple(dtype if name in ("grad", "weight") else kind for name in stage.tensors)
    tensors = [
        [torch.randn(size, generator=generator, dtype=torch.float64).to(type) for size in sizes]
        for type in types
    ]
    tensors[0][0][:3] = torch.tensor([float("nan"), float("inf"), 0.0])
    known = known_numbers(program("all", ALL), {"lr": 0.5}, 3, (1, 1)) | {"@scale": 1.0}
    one = cpp.CppKernel(stage, types, kind) if compiled else EagerKernel(stage, kind)
    one(tensors, [], [value_of(given, known) for given in stage.given], len(sizes))
    return list(stage.tensors), tensors


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("step_count", [2, 3])
def test_compiled_is_eager(dtype: torch.dtype, step_count: int) -> None:
    """All functions, in all precisions, with what is not finite, over sizes on both sides of a block."""
    sizes = (7, 1, 0, 4096, 4097, 33_000)
    names, expected = run(stage(step_count), dtype, sizes, compiled=False)
    _, found = run(stage(step_count), dtype, sizes, compiled=True)
    tolerance = 1e-11 if dtype == torch.float64 else 1e-4
    for ours, theirs in zip(found, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            close = 0.02 if one.dtype in (torch.bfloat16, torch.float16) else tolerance
            assert_close(one, other, rtol=close, atol=close, equal_nan=True)
    assert any(one.isnan().any() for one in found[names.index("weight")])


def test_threads_do_not_change_it() -> None:
    sizes = (100_000, 5, 50_000)
    _, one = run(stage(2), torch.float32, sizes, compiled=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        _, three = run(stage(2), torch.float32, sizes, compiled=True)
    finally:
        torch.set_num_threads(threads)
    assert_close(three, one, rtol=0, atol=0, equal_nan=True)


def test_every_elementwise_function_can_be_written() -> None:
    assert set(C_LIKE.functions) == ELEMENTWISE


def test_source_reads_like_the_program() -> None:
    """One loop, with a line for each step, named as in the program."""
    source = cpp.source(stage(3), (torch.float32,) * len(stage(3).tensors), torch.float32)
    assert source.count("for (int64_t i") == 1
    for name in ("m next", "far.gathered now", "weight next"):
        assert f"// {name}\n" in source
