"""nestdsl: a language for Nested Learning, compiled to PyTorch.

    nest = nestdsl.load("hope.nest", dim=512)
    model = nest.compile()
    logits, state = model(ids)

    nestdsl.train(model, "text.txt", steps=200, out="runs/hope")
    b"".join(nestdsl.generate(model, "Once upon", 100))

Every name is imported when it is first used, so that the command line starts at once; torch is
imported only where a model is built or trained.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nestdsl.api import Nest, load, parse
    from nestdsl.diagnostics import Diagnostic, NestError
    from nestdsl.runtime.module import NestModule
    from nestdsl.runtime.optimizer.torch_face import optimizer
    from nestdsl.training.evaluate import evaluate, measure
    from nestdsl.training.generate import generate
    from nestdsl.training.loop import resume, train
    from nestdsl.training.restore import restore
    from nestdsl.vocabulary.extension import function, kind

__version__ = "0.1.0"

__all__ = [
    "Diagnostic",
    "Nest",
    "NestError",
    "NestModule",
    "__version__",
    "evaluate",
    "function",
    "generate",
    "kind",
    "load",
    "measure",
    "optimizer",
    "parse",
    "restore",
    "resume",
    "train",
]

_MODULES = {
    "Diagnostic": "nestdsl.diagnostics",
    "Nest": "nestdsl.api",
    "NestError": "nestdsl.diagnostics",
    "NestModule": "nestdsl.runtime.module",
    "evaluate": "nestdsl.training.evaluate",
    "function": "nestdsl.vocabulary.extension",
    "generate": "nestdsl.training.generate",
    "kind": "nestdsl.vocabulary.extension",
    "load": "nestdsl.api",
    "measure": "nestdsl.training.evaluate",
    "optimizer": "nestdsl.runtime.optimizer.torch_face",
    "parse": "nestdsl.api",
    "restore": "nestdsl.training.restore",
    "resume": "nestdsl.training.loop",
    "train": "nestdsl.training.loop",
}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'nestdsl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
