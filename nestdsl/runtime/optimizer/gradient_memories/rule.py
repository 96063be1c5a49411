"""What moves a memory of gradients: its equation as it reads, and the steps of the fast update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import Tensor

Number = Tensor | float
State = tuple[Tensor, ...]
"""The tensors of `MemoryKind.parts` [..., rows, columns]."""

Form = Literal["value", "reciprocal", "rest"]
Given = tuple[str, Form]
"""A number from outside: its name and what is given of it: itself, 1 / itself, or 1 - itself."""

Operated = str | float | Given
"""An operand: a result, a `@state`, a literal number, or what is given."""


class StepWriter(Protocol):
    """Takes down the steps by which one memory moves."""

    states: tuple[str, ...]
    """Its state as it is, one name for each part."""

    def rate(self, name: str, form: Form = "value") -> Operated:
        """One of its rates; `rest` is 1 - itself, computed in double precision."""
        ...

    def is_number(self, operand: Operated) -> bool:
        """Whether an operand is one number for each weight."""
        ...

    def add(self, function: str, *operands: Operated, like: str = "") -> str:
        """A step; its result has the shape of the state, or of `like`."""
        ...

    def add_all(self, function: str, *operands: Operated) -> tuple[str, ...]:
        """A step that makes all parts of the state."""
        ...


@dataclass(frozen=True)
class Rule:
    """How a memory of one kind moves.

    move(state, learned, rates): its equation, a pure function through which gradients pass.
    steps(writer, learned): the same in steps of the fast update. answer(state, key): what it answers to the
    rows of a key, and `answering` the step that does so; functions: those of its steps that are no other's.
    """

    kind: str
    move: Callable[[State, tuple[Any, ...], Mapping[str, Number]], State]
    steps: Callable[[StepWriter, tuple[Operated, ...]], tuple[str, ...]]
    answer: Callable[[State, Tensor], Tensor] | None = None
    answering: str = ""
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
