"""The clock: every period of a model, who has it, and where the runtime must stop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from nestdsl.plan.plan import Clock, OrderedLevel


def clock(levels: Iterable[OrderedLevel]) -> Clock:
    """All periods of declared levels; they divide one another, so the longest is the cycle."""
    levels = tuple(levels)
    by_unit: dict[str, dict[int, list[str]]] = {"token": defaultdict(list), "step": defaultdict(list)}
    for level in levels:
        if not level.frozen and level.frequency != "every read":
            by_unit[level.unit][level.period].append(level.name)
    tokens, steps = (
        tuple((period, tuple(names)) for period, names in sorted(by_unit[unit].items()))
        for unit in ("token", "step")
    )
    return Clock(
        segment_tokens=min(_surprised(levels), default=0),
        cycle_steps=max((period for period, _ in steps), default=1),
        tokens=tokens,
        steps=steps,
    )


def _surprised(levels: Iterable[OrderedLevel]) -> list[int]:
    """The periods of levels that learn from surprise in context."""
    return [level.period for level in levels if level.unit == "token" and level.learns == "surprise"]
