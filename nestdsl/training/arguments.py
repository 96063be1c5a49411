"""What the functions of the Python face are given."""

from __future__ import annotations

import os

from nestdsl.diagnostics import Diagnostic, NestError, Severity
from nestdsl.runtime.module import NestModule


def require_weights(model: NestModule) -> None:
    """Raises NestError N0305 for a model in which there is nothing to train."""
    if next(model.parameters(), None) is None:
        message = f"model `{model.plan.model}` has no weights: there is nothing to train"
        hint = "give it a level with weights, such as `flow out = in -> linear`"
        raise NestError((Diagnostic("N0305", message, None, hint, severity=Severity.ERROR),))


def require_model(model: object, function: str) -> None:
    """Raises TypeError for anything but a model, such as a Nest, which is not compiled yet."""
    if isinstance(model, str | os.PathLike) and function == "resume":
        raise TypeError(
            f"nestdsl.resume takes the folder of a run by name: nestdsl.resume(out={str(model)!r})"
        )
    if not isinstance(model, NestModule):
        raise TypeError(
            f"nestdsl.{function} takes a compiled model, not {type(model).__name__}; "
            f"compile first: nestdsl.{function}(nest.compile(), ...)"
        )
