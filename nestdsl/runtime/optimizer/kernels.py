"""What carries out an elementwise stage: a compiled kernel for each precision and device."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec

import torch
from torch import Tensor

from nestdsl.runtime.compilation import can_compile
from nestdsl.runtime.optimizer.cpp import CppKernel
from nestdsl.runtime.optimizer.elementwise import EagerKernel, Kernel
from nestdsl.runtime.optimizer.gpu import TritonKernel
from nestdsl.runtime.optimizer.lines import Given
from nestdsl.runtime.optimizer.stages import Elementwise
from nestdsl.runtime.optimizer.values import Values

Types = tuple[torch.dtype, ...]


class StageKernels:
    """The kernels of one stage, made when they are needed first; `compile`: or operation by operation."""

    def __init__(self, stage: Elementwise, *, compile: bool) -> None:
        self._stage, self._compile = stage, compile
        self._kernels: dict[tuple[Types, torch.dtype, str], Kernel] = {}

    def run(self, values: Values, given: Mapping[Given, float], items: int) -> None:
        """Carries out the stage on `items` weights, or matrices of them, with numbers from outside."""
        stage = self._stage
        for where, name in stage.stores:
            if where == name:
                values.room(name, stage.shape)
        tensors = [values.tensors(name) for name in stage.tensors]
        types = tuple([one.dtype if isinstance(one, Tensor) else one[0].dtype for one in tensors])
        kernel = self._kernel(types, values.kind, values.device)
        kernel(
            tensors,
            [values.numbers(name) for name in stage.numbers],
            [given[one] for one in stage.given],
            items,
        )
        for where, name in stage.stores:
            if where != name:
                values.stored(name, where)

    def _kernel(self, types: Types, kind: torch.dtype, device: torch.device) -> Kernel:
        key = (types, kind, device.type)
        if key not in self._kernels:
            compiled = _compiled(self._stage, *key) if self._compile else None
            self._kernels[key] = compiled or EagerKernel(self._stage, kind)
        return self._kernels[key]


@lru_cache(maxsize=256)
def _compiled(stage: Elementwise, types: Types, kind: torch.dtype, device: str) -> Kernel | None:
    """A kernel for tensors of these types, which computes in `kind`; None where none can be compiled."""
    match device:
        case "cpu" if can_compile(torch.device(device)):
            return CppKernel(stage, types, kind)
        case "cuda" if find_spec("triton"):
            return TritonKernel(stage, types, kind)
        case _:
            return None
