"""The programs that the rows run, by name."""

from __future__ import annotations

from pathlib import Path

import nestdsl
from nestdsl.api import Nest


def program(name: str, model: str | None = None, **parameters: int) -> Nest:
    """The program `name`.nest beside this file, with its parameters set; `model` chooses one of several."""
    return nestdsl.load(Path(__file__).parent / f"{name}.nest", model=model, **parameters)
