"""What the functions of the Python face are given."""

from __future__ import annotations

import os

from nestdsl.runtime.module import NestModule


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
