"""What the functions of the Python face are given."""

from __future__ import annotations

from nestdsl.runtime.module import NestModule


def require_model(model: object, function: str) -> None:
    """Raises TypeError for anything but a model, such as a Nest, which is not compiled yet."""
    if not isinstance(model, NestModule):
        raise TypeError(
            f"nestdsl.{function} takes a compiled model, not {type(model).__name__}; "
            f"compile first: nestdsl.{function}(nest.compile(), ...)"
        )
