"""nestdsl: a language for Nested Learning, compiled to PyTorch.

    nest = nestdsl.load("hope.nest", dim=512)
    model = nest.compile()
    logits, state = model(ids)

Torch is imported only where a model is built or trained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nestdsl.api import Nest, load, parse
from nestdsl.diagnostics import Diagnostic, NestError
from nestdsl.library.extension import function, kind

if TYPE_CHECKING:
    from nestdsl.training.loop import train

__version__ = "0.1.0"

__all__ = [
    "Diagnostic",
    "Nest",
    "NestError",
    "__version__",
    "function",
    "kind",
    "load",
    "parse",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "train":
        from nestdsl.training.loop import train

        return train
    raise AttributeError(f"module 'nestdsl' has no attribute {name!r}")
