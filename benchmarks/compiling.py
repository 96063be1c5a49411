"""torch.compile, with the settings under which nestdsl compiles its own bodies, for everybody alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled(function: _Function) -> _Function:
    """Saved tensors are not written over (torch 2.13 gives wrong gradients otherwise, see nestdsl's
    runtime/compilation.py); shapes are static, which is faster."""
    fast = torch.compile(function, dynamic=False)

    def call(*arguments: Any, **named: Any) -> Any:
        with (
            torch._functorch.config.patch(donated_buffer=False),  # type: ignore[reportAttributeAccessIssue]
            torch.compiler.config.patch(cache_key_tag="nestdsl: saved tensors stay as they are"),  # type: ignore[reportAttributeAccessIssue]
            torch._dynamo.config.patch(recompile_limit=64),
        ):
            return fast(*arguments, **named)

    return call  # type: ignore[return-value]
