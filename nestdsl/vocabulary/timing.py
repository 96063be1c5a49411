"""When a level moves, is read and starts again, and how far gradients go through what it learns.

Each is a value of its own; its text, as a program and a plan have it, is made by `str` and read by `parse`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from nestdsl.records import Text


class Named(Enum):
    """An enumeration whose members show themselves as Python writes them, and whose text is their word."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"

    def __str__(self) -> str:
        return str(self.value)


class Unit(Named):
    """What a period counts."""

    TOKEN = "token"
    STEP = "step"


class Reset(Named):
    """When the state of a level starts again."""

    CONTEXT = "context"
    """With each sequence."""
    PARENT = "parent"
    """With each sequence, and whenever the level moves from whose weights it starts."""
    NEVER = "never"
    """Never: it goes on along a stream of sequences."""


class ReadTime(Named):
    """Which state of a memory a read at a token sees."""

    AFTER = "after"
    BEFORE = "before"
    ANCHOR = "anchor"
    """That at the start of the token's chunk."""


class Gradient(Text):
    """How far outer levels differentiate through what a level learns."""

    @classmethod
    def parse(cls, text: str) -> Gradient:
        """`through`, `stop` or `truncated(4)`. Raises ValueError for any other text."""
        simple = {"through": THROUGH, "stop": STOP}.get(text)
        found = re.fullmatch(r"truncated\(([1-9][0-9]{0,18})\)", text)
        if simple is None and found is None:
            raise ValueError("no gradient: `through`, `stop` or `truncated(n)`")
        return Truncated(int(found[1])) if simple is None and found else simple or THROUGH


@dataclass(frozen=True, slots=True)
class Through(Gradient):
    """Through all of it."""

    def __str__(self) -> str:
        return "through"


@dataclass(frozen=True, slots=True)
class Stop(Gradient):
    """Through none of it: what it learns is constant for them (first order)."""

    def __str__(self) -> str:
        return "stop"


@dataclass(frozen=True, slots=True)
class Truncated(Gradient):
    """Through the last updates of a level, or through what the last segments did to a memory."""

    last: int

    def __str__(self) -> str:
        return f"truncated({self.last})"


THROUGH, STOP = Through(), Stop()
GRADIENTS = ("through", "stop", "truncated")
"""The words of the clause `gradient`."""


class Frequency(Text):
    """How often a level is updated."""

    @classmethod
    def parse(cls, text: str) -> Frequency:
        """The frequency with this text. Raises ValueError if none has it."""
        if text in ("every read", "never"):
            return EveryRead() if text == "every read" else Never()
        found = _TIMES.fullmatch(text) or _EVERY.fullmatch(text)
        if found is None:
            raise ValueError("no frequency: `every 16 steps`, `5 times a step`, `every read` or `never`")
        parts = found.groupdict()
        frequency = Every(int(parts.get("times") or 1), int(parts["period"] or 1), Unit(parts["unit"]))
        if str(frequency) != text:
            raise ValueError(f"written otherwise: `{frequency}`")
        return frequency


@dataclass(frozen=True, slots=True)
class EveryRead(Frequency):
    """What is solved again at every read: attention."""

    def __str__(self) -> str:
        return "every read"


@dataclass(frozen=True, slots=True)
class Never(Frequency):
    """What is frozen."""

    def __str__(self) -> str:
        return "never"


@dataclass(frozen=True, slots=True)
class Every(Frequency):
    """So many times in a period of tokens, or of steps of the optimizer."""

    times: int
    period: int
    unit: Unit

    def __str__(self) -> str:
        unit = self.unit.value
        if self.times > 1:
            often = f"{self.times} times"
            return f"{often} a {unit}" if self.period == 1 else f"{often} in {self.period} {unit}s"
        return f"every {unit}" if self.period == 1 else f"every {self.period} {unit}s"


_NUMBER, _UNIT = "[1-9][0-9]{0,18}", "(?P<unit>token|step)s?"
_TIMES = re.compile(rf"(?P<times>{_NUMBER}) times (?:a|in (?P<period>{_NUMBER})) {_UNIT}")
_EVERY = re.compile(rf"every (?:(?P<period>{_NUMBER}) )?{_UNIT}")
