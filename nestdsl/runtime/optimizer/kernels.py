"""The compiled kernel of an elementwise stage on a device."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec

import torch

from nestdsl.runtime.compilation import can_compile
from nestdsl.runtime.optimizer.cpp import CppKernel
from nestdsl.runtime.optimizer.elementwise import Kernel
from nestdsl.runtime.optimizer.gpu import TritonKernel
from nestdsl.runtime.optimizer.stages import Elementwise


@lru_cache(maxsize=256)
def kernel(
    stage: Elementwise, types: tuple[torch.dtype, ...], kind: torch.dtype, device: str
) -> Kernel | None:
    """A kernel for tensors of these types, which computes in `kind`; None where none can be compiled."""
    match device:
        case "cpu":
            return CppKernel(stage, types, kind) if can_compile(torch.device(device)) else None
        case "cuda" if find_spec("triton"):
            return TritonKernel(stage, types, kind)
        case _:
            return None
