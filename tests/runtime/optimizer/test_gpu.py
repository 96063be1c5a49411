"""Triton kernels compute what the same stages compute operation by operation, and optimizers run on a GPU.

Without a GPU, Triton's interpreter runs the kernels, where Triton can be imported.
"""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from nestdsl.runtime.optimizer.gpu import TritonKernel
from tests.runtime.optimizer.kernels import ALL, assert_is_eager, stage
from tests.runtime.optimizer.programs import PROGRAMS, program, run_fast, run_naive, start

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels run on the GPU")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("step_count", [2, 3])
def test_interpreted_is_eager(dtype: torch.dtype, step_count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    # The interpreter knows no functions of CUDA's library, which powers of variables are.
    text = ALL.replace("abs(m) ** 1.5 + ", "").replace(" + (1 + m * m) ** far", "")
    assert text.count("**") == ALL.count("**") - 2
    assert_is_eager(stage(step_count, text), dtype, TritonKernel)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("step_count", [2, 3])
def test_kernel_is_eager(dtype: torch.dtype, step_count: int) -> None:
    assert_is_eager(stage(step_count), dtype, TritonKernel, device="cuda")


@pytest.mark.gpu
@pytest.mark.parametrize("name", PROGRAMS)
def test_optimizer_is_naive(name: str) -> None:
    weights, gradients = start(steps=9)
    weights = [weight.cuda() for weight in weights]
    gradients = [[part.cuda() for part in step] for step in gradients]
    one = program(name)
    assert_close(
        run_fast(one, weights, gradients, compile=True),
        run_naive(one, weights, gradients),
        rtol=1e-9,
        atol=1e-9,
    )
