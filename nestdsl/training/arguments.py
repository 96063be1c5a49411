"""What the functions of the Python face are given."""

from __future__ import annotations

from pathlib import PurePath

from nestdsl.diagnostics import Diagnostic, NestError, Severity, fail
from nestdsl.given import described
from nestdsl.ranges import shown
from nestdsl.runtime.module import NestModule


def require_weights(model: NestModule) -> None:
    """Raises NestError N0305 for a model in which there is nothing to train."""
    if next(model.parameters(), None) is None:
        message = f"model `{model.plan.model}` has no weights: there is nothing to train"
        hint = "give it a level with weights, such as `flow out = in -> linear`"
        raise NestError((Diagnostic("N0305", message, None, hint, severity=Severity.ERROR),))


def require_model(model: object, function: str) -> None:
    """Raises NestError N0104 for anything but a model, such as a Nest, which is not compiled yet."""
    if isinstance(model, NestModule):
        return
    if isinstance(model, str | PurePath) and function == "resume":
        hint = f"give the folder of a run by name: nestdsl.resume(out={shown(str(model))})"
    else:
        hint = f"compile first: nestdsl.{function}(nest.compile(), ...)"
    raise fail("N0104", f"`model` of nestdsl.{function} is {described(model)}, and no compiled model", hint)
