"""Compiled kernels compute what the same stages compute operation by operation."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.runtime.functions import POINTWISE
from nestdsl.runtime.optimizer import cpp, gpu
from nestdsl.runtime.optimizer.cpp import CppKernel
from nestdsl.runtime.optimizer.expressions import C_LIKE, TRITON
from nestdsl.runtime.optimizer.lines import due_lines, steps_of
from nestdsl.runtime.optimizer.stages import Elementwise, stages_of
from tests.runtime.optimizer.kernels import ALL, assert_is_eager, run, stage
from tests.runtime.optimizer.programs import program


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
    assert set(C_LIKE.functions) == set(TRITON.functions) == set(POINTWISE)


HOSTILE = (
    "m\n#include <cstdlib>",
    "m\r#error",
    "m\x0b#error",
    "m\u2028import os",
    "m\\",
    "m */ pwned",
    'm"""',
    "{m}",
    "??/",
)


@pytest.mark.parametrize("language", [cpp, gpu])
@pytest.mark.parametrize("added", HOSTILE)
def test_no_name_of_a_program_reaches_a_kernel(language: ModuleType, added: str) -> None:
    """However a program names its memories, results and parameters, the text that is compiled is the same."""

    def source(program: OptimizerProgram) -> str:
        (only,) = stages_of(steps_of(program, due_lines(program, 2), decays=False))
        assert isinstance(only, Elementwise)
        return language.source(only, (torch.float32,) * len(only.tensors), torch.float32)

    plain = program("all", ALL)
    names = {"m", "far", "lr", *(line.result for line in plain.lines)}
    renamed = _renamed(plain, {name: f"{name}{added}" for name in names})
    assert renamed != plain
    assert source(renamed) == source(plain)
    assert source(plain).isascii()


def _renamed(part: Any, names: dict[str, str]) -> Any:
    if is_dataclass(part) and not isinstance(part, type):
        new = {
            one.name: _renamed(getattr(part, one.name), names) for one in fields(part) if one.name != "name"
        }
        own = {"name": names.get(part.name, part.name)} if hasattr(part, "name") else {}
        return replace(part, **new, **own)
    if isinstance(part, tuple):
        return tuple(_renamed(one, names) for one in part)
    return names.get(part, part) if isinstance(part, str) else part
