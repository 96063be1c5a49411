"""What a row of the table is, what is measured for it, and what it claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Work = Callable[[], object]
"""One piece of work, to be timed again and again."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody's way of doing a row's work.

    prepare: builds it and gives the work; it and the first run are the compile time. share: how much of the
    row's work one run is, 0.25 for one of four equal sequences, say; times are divided by it. precision: that
    of its products, where contenders of one row may differ in it.
    """

    name: str
    prepare: Callable[[], Work]
    share: float = 1.0
    precision: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """`ours` beats `theirs` by `at_least` in time; or, measured "memory" or "compile", uses at most
    `at_most` of what `theirs` does (of one unit, seconds or MiB, if theirs is empty)."""

    ours: str
    theirs: str = ""
    at_least: float | None = None
    at_most: float | None = None
    measured: Literal["time", "memory", "compile"] = "time"


@dataclass(frozen=True, slots=True)
class Row:
    """One row: `contenders` gives who takes part, at sizes small enough for a test if `quick`.

    peers: the packages that contenders need; those that lack theirs are left out. repeats: how many timed
    runs each contender makes at most. isolated: each contender runs in a process of its own, once, because
    peak memory is what counts.
    """

    key: str
    title: str
    claims: tuple[Claim, ...]
    contenders: Callable[[bool], tuple[Contender, ...]]
    peers: Mapping[str, str]
    repeats: int = 7
    isolated: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured of a contender: median and all times in seconds, the compile time, and the most
    memory that one run took beyond what was held before it (isolated: in all), None where it is not known;
    the precision as the contender says it."""

    name: str
    seconds: float
    times: tuple[float, ...]
    compile_seconds: float
    peak_mib: float | None
    precision: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim with its ratio: how many times faster, or what part of theirs; None if one of them is
    missing."""

    claim: Claim
    ratio: float | None

    @property
    def holds(self) -> bool | None:
        if self.ratio is None:
            return None
        if self.claim.at_least is not None:
            return self.ratio >= self.claim.at_least
        return self.claim.at_most is None or self.ratio <= self.claim.at_most


def judge(row: Row, figures: Mapping[str, Figure]) -> tuple[Judged, ...]:
    """Every claim of a row, with the ratio that the figures give."""
    return tuple(Judged(claim, _ratio(claim, figures)) for claim in row.claims)


def _ratio(claim: Claim, figures: Mapping[str, Figure]) -> float | None:
    ours, theirs = figures.get(claim.ours), figures.get(claim.theirs)
    if ours is None or (claim.theirs and theirs is None):
        return None
    found = [_value(claim, figure) for figure in (ours, theirs) if figure is not None]
    if any(value is None for value in found):
        return None
    if len(found) == 1:
        return found[0]
    mine, other = found
    assert mine is not None and other is not None
    return other / mine if claim.at_least is not None else mine / other


def _value(claim: Claim, figure: Figure) -> float | None:
    match claim.measured:
        case "time":
            return figure.seconds
        case "memory":
            return figure.peak_mib
        case "compile":
            return figure.compile_seconds
