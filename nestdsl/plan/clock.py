"""The clock: every period of a model, who has it, and where the runtime must stop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from nestdsl.plan.plan import Clock, OrderedLevel
from nestdsl.vocabulary.timing import EveryRead, Unit


def clock(levels: Iterable[OrderedLevel]) -> Clock:
    """All periods of declared levels; they divide one another, so the longest is the cycle."""
    levels = tuple(levels)
    by_unit: dict[Unit, dict[int, list[str]]] = {unit: defaultdict(list) for unit in Unit}
    for level in levels:
        if not level.frozen and not isinstance(level.frequency, EveryRead):
            by_unit[level.unit][level.period].append(level.name)
    tokens, steps = (
        tuple((period, tuple(names)) for period, names in sorted(by_unit[unit].items()))
        for unit in (Unit.TOKEN, Unit.STEP)
    )
    return Clock(
        segment_tokens=min(_surprised(levels), default=0),
        cycle_steps=max((period for period, _ in steps), default=1),
        tokens=tokens,
        steps=steps,
    )


def _surprised(levels: Iterable[OrderedLevel]) -> list[int]:
    """The periods of levels that learn from surprise in context."""
    return [level.period for level in levels if level.unit is Unit.TOKEN and level.learns == "surprise"]
