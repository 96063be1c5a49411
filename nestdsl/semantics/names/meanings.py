"""What a name can mean inside the body of a model or block."""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.semantics.constants import Constant, Unknown
from nestdsl.source import Span


@dataclass(frozen=True, slots=True)
class FlowName:
    """A flow: the id of its node."""

    id: str


@dataclass(slots=True)
class Stage:
    """Something that a flow passes through.

    A level (`level`) may be read anywhere; a block (`entry` to `exit`) only once, because its
    flows are its own: `read_at` remembers where.
    """

    level: str | None = None
    entry: str = ""
    exit: str = ""
    read_at: Span | None = None


@dataclass(frozen=True, slots=True)
class LevelName:
    """A declared level: for each element of the array (one if it is none) its stages in order."""

    elements: tuple[tuple[Stage, ...], ...]
    is_array: bool


@dataclass(frozen=True, slots=True)
class ConstantName:
    value: Constant | Unknown


@dataclass(frozen=True, slots=True)
class Poisoned:
    """A name whose declaration could not be read; using it is no second mistake."""


Meaning = FlowName | LevelName | ConstantName | Poisoned
