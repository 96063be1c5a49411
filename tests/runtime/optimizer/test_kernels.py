"""Compiled kernels compute what the same stages compute operation by operation."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from nestdsl.runtime.optimizer import cpp
from nestdsl.runtime.optimizer.cpp import CppKernel
from nestdsl.runtime.optimizer.expressions import C_LIKE, TRITON
from nestdsl.runtime.optimizer.stages import ELEMENTWISE
from tests.runtime.optimizer.kernels import assert_is_eager, run, stage


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("step_count", [2, 3])
def test_compiled_is_eager(dtype: torch.dtype, step_count: int) -> None:
    """All functions, in all precisions, with what is not finite."""
    assert_is_eager(stage(step_count), dtype, CppKernel)


def test_threads_do_not_change_it() -> None:
    sizes = (100_000, 5, 50_000)
    one = run(stage(2), torch.float32, CppKernel, sizes)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        three = run(stage(2), torch.float32, CppKernel, sizes)
    finally:
        torch.set_num_threads(threads)
    assert_close(three, one, rtol=0, atol=0, equal_nan=True)


def test_every_elementwise_function_can_be_written() -> None:
    assert set(C_LIKE.functions) == set(TRITON.functions) == ELEMENTWISE


def test_source_reads_like_the_program() -> None:
    """One loop, with a line for each step, named as in the program."""
    source = cpp.source(stage(3), (torch.float32,) * len(stage(3).tensors), torch.float32)
    assert source.count("for (int64_t i") == 1
    for name in ("m next", "far.gathered now", "weight next"):
        assert f"// {name}\n" in source
