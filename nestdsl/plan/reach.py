"""How far back the outer levels differentiate: what `gradient` says of each state of a model.

A sequence is read in segments, as long as the shortest period of a level that learns from surprise in
context. Seen from the loss of one segment,

- the state of a memory that says `truncated(n)` is constant but for what the last n segments did to it, that
  segment included; with `through` none of it is constant;
- of the updates of a level that learns from surprise the last n are differentiated through, with `through`
  all, with `stop` none; what earlier ones changed is constant, and weights hang on their start through it.

What says neither (convolutions, memories that say `stop`) goes back as far as the furthest of the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from nestdsl.plan.plan import Body, LevelPlan, Plan
from nestdsl.vocabulary.timing import STOP, Gradient, Stop, Truncated

Path = tuple[str | int, ...]
"""Where the state of a level stands in that of the model."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Through how much the outer levels differentiate, infinite where there is no bound.

    memories: segments, for each memory that says so. updates: for each level that learns from surprise.
    others: segments, for all other state. window: the most segments that anything bounded goes back.
    """

    memories: dict[Path, float]
    updates: dict[Path, float]
    others: float
    window: int

    def segments(self, path: Path) -> float:
        """Through how many segments a part of the state is differentiated."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.memories:
                return self.memories[path[:length]]
        return self.others

    @property
    def is_cut(self) -> bool:
        """Whether nothing goes back beyond its own segment."""
        return self.others == 1

    @property
    def is_whole(self) -> bool:
        """Whether nothing has a bound; levels that learn from surprise may say `stop`."""
        every = {*self.memories.values(), *filter(None, self.updates.values())}
        return every == {math.inf}


def reach(plan: Plan) -> Reach:
    """What the clauses of a model with levels that learn from surprise say."""
    memories: dict[Path, float] = {}
    updates: dict[Path, float] = {}
    spans = [1.0]
    for path, level in _levels(plan, plan.root, ()):
        if level.surprise is not None:
            many = updates[path] = _count(level.surprise.gradient)
            if many:
                # The oldest of n updates may have begun to gather n + 1 periods before the loss.
                spans.append((many + 1) * (level.surprise.period_tokens // plan.clock.segment_tokens))
        elif level.association and level.gradient != STOP:
            many = memories[path] = _count(level.gradient)
            spans.append(many)
    window = max(span for span in spans if span < math.inf)
    return Reach(memories, updates, max(spans), int(window))


def _levels(plan: Plan, body: Body, path: Path) -> Iterator[tuple[Path, LevelPlan]]:
    bodies = {body.name: body for body in plan.bodies}
    levels = {level.attribute: level for level in body.levels}
    for attribute, level in levels.items():
        yield (*path, attribute), level
    for shared in body.shared:  # whose state is that of all its members, which say the same
        yield (*path, shared.attribute), levels[shared.members[0]]
    for block in body.blocks:
        for number, name in enumerate(block.bodies):
            inner = (*path, block.attribute, number) if block.repeated else (*path, block.attribute)
            yield from _levels(plan, bodies[name], inner)


def _count(gradient: Gradient) -> float:
    """Through how many updates or segments: infinity for all."""
    match gradient:
        case Stop():
            return 0
        case Truncated(last):
            return last
    return math.inf
