"""Boxes of the view `nesting`: one for each level, or for the many anonymous levels of one block and rank."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from nestdsl.graph.nodes import Learning, Level
from nestdsl.graph.order import Rank
from nestdsl.render.fold import Folded
from nestdsl.render.style import FAINT, label, text
from nestdsl.render.words import SMALL, how_it_learns, level_label, parameters, shown, times
from nestdsl.vocabulary.signatures import LIBRARY

_WIDTH = 38
"""Characters of a line in a list of gathered levels."""
_MOST = 3
"""Lines of such a list for one kind."""


@dataclass(frozen=True, slots=True)
class Box:
    """A node of the drawing and the folded levels that it stands for."""

    id: str
    name: str
    label: str
    levels: tuple[str, ...]
    drives: bool = False
    """Whether they are levels of an optimizer."""


def gather(folded: Folded, rank: Rank) -> tuple[Box, ...]:
    """The boxes of one rank, in the order of the program.

    A picture is to show what the author named. So the levels that flows make in passing share
    boxes that list them: the norms of the whole rank one, the others of each block another.
    """
    levels, train = folded.levels(), folded.graph.train
    gathered: dict[tuple[str, str], list[str]] = defaultdict(list)
    for id in rank.levels:
        place = f"alone: {id}"
        if is_norm(levels[id]):
            place = "norms"
        elif _is_anonymous(levels[id]):
            place = f"of block: {folded.scope_of(id)}"
        gathered[place, how_it_learns(levels[id], train)].append(id)
    return tuple(_box(folded, levels, ids) for ids in gathered.values())


def is_norm(level: Level) -> bool:
    """True for a norm without a name, past which context flows are drawn."""
    return not level.owner and LIBRARY.kinds[level.kind].is_norm and _is_anonymous(level)


def _is_anonymous(level: Level) -> bool:
    return "." in level.name and level.learning is Learning.SURPRISE


def _box(folded: Folded, levels: dict[str, Level], ids: list[str]) -> Box:
    train = folded.graph.train
    first = levels[ids[0]]
    total = sum(folded.parameters[id] for id in ids)
    if len(ids) == 1:
        return Box(ids[0], shown(ids[0]), level_label(first, train, total, folded.copies[ids[0]]), tuple(ids))
    if is_norm(first):
        name, copies = "norms", 1
        places = [(levels[id].kind, _place(shown(id), levels[id]) + times(folded.copies[id])) for id in ids]
    else:
        scope, copies = folded.scope_of(ids[0]), folded.copies[ids[0]]
        name = shown(scope) or folded.graph.name
        places = [(levels[id].kind, _place(levels[id].name, levels[id])) for id in ids]
    title = text(name, bold=True) + text(times(copies)) + text(f"  {len(ids)} anonymous levels", 10)
    last = f"{how_it_learns(first, train)}, {parameters(total, copies)}"
    rows = [title, *_listed(places), text(last, SMALL, color=FAINT)]
    return Box(f"{name} anonymous {ids[0]}", name, label(rows), tuple(ids))


def _place(name: str, level: Level) -> str:
    """The flow that an anonymous level stands in: `h` of `h.linear_2`."""
    return name.rpartition(f".{level.kind}")[0] or name


def _listed(places: Sequence[tuple[str, str]]) -> list[str]:
    """For each kind a line such as `linear: k, v, h (2)`, with the flows that the levels stand in."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for kind, place in places:
        counts[kind][place] += 1
    rows: list[str] = []
    for kind, found in counts.items():
        names = [f"{place} ({count})" if count > 1 else place for place, count in found.items()]
        first, *others = _lines(names)
        rows.append(text(f"{kind}: ", SMALL, bold=True) + text(first, SMALL))
        rows += [text(line, SMALL) for line in others]
    return rows


def _lines(names: list[str]) -> list[str]:
    lines: list[list[str]] = [[]]
    for place, name in enumerate(names):
        if lines[-1] and len(", ".join([*lines[-1], name])) > _WIDTH:
            if len(lines) == _MOST:
                lines[-1].append(f"and {len(names) - place} more")
                break
            lines.append([])
        lines[-1].append(name)
    *before, last = (", ".join(line) for line in lines)
    return [*(f"{line}," for line in before), last]
