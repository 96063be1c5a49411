"""Boxes for the levels of optimizers: those of one program that move equally often stand in one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from nestdsl.graph.nodes import EdgeType, Level
from nestdsl.graph.optimizer_levels import ITERATION
from nestdsl.graph.order import Speed, describe_frequency, speed
from nestdsl.render.fold import Edge, Folded
from nestdsl.render.style import FAINT, label, text
from nestdsl.render.words import SMALL, shown, times


@dataclass(frozen=True, slots=True)
class Drivers:
    """Levels of one program at its place: its memories of one period, and what is iterated of them.

    An iteration is a level of its own, faster than its memory; in a picture it stands in the memory's box.
    `drives` are the levels whose weights they move. Of the boxes of a program the fastest alone leads there,
    and the others lead to it: `first` is its id. `copies` programs alike may share a box.
    """

    id: str
    place: str
    speed: Speed
    levels: tuple[Level, ...]
    drives: tuple[str, ...]
    first: str
    copies: int = 1

    @property
    def title(self) -> str:
        """`every 16 steps`, also where an iteration runs several times then."""
        return describe_frequency(replace(self.levels[0], iterations=1))

    def label(self, more: str = "") -> str:
        """`train.m3`, `ema v, near`, `every step`, `newton_schulz, 5 times a step`, and more in words."""
        kinds: dict[str, list[str]] = defaultdict(list)
        iterations: Counter[str] = Counter()
        for level in self.levels[: len(self.levels) // self.copies]:
            if level.kind == ITERATION:
                iterations[f"{ITERATION}, {describe_frequency(level)}"] += 1
            else:
                kinds[level.kind].append(level.name)
        rows = [text(shown(self.place), bold=True) + text(times(self.copies))]
        rows += [
            text(f"{kind} ", 10) + text(", ".join(names), 10, bold=True) for kind, names in kinds.items()
        ]
        words = [self.title] if kinds else []
        words += [f"{one} (×{count})" if count > 1 else one for one, count in iterations.items()]
        words += [more] if more else []
        return label([*rows, *(text(one, SMALL, color=FAINT) for one in words)])


def drivers(folded: Folded) -> tuple[Drivers, ...]:
    """The levels of optimizers in their boxes, in the order of the program."""
    together: dict[tuple[str, Speed], list[Level]] = defaultdict(list)
    for level in folded.levels().values():
        if level.owner:
            together[_place(level), speed(replace(level, iterations=1))].append(level)
    fastest: dict[str, tuple[Speed, str]] = {}
    for (place, fast), levels in together.items():
        fastest[place] = max(fastest.get(place, (fast, levels[0].id)), (fast, levels[0].id))
    targets: dict[str, dict[str, None]] = defaultdict(dict)
    for edge in folded.edges:
        if edge.type is EdgeType.OPTIMIZE:
            targets[edge.source][edge.target] = None
    return tuple(
        Drivers(levels[0].id, place, speed, tuple(levels), tuple(targets[levels[0].id]), fastest[place][1])
        for (place, speed), levels in together.items()
    )


def alike(driving: Iterable[Drivers], box_of: Mapping[str, str]) -> tuple[Drivers, ...]:
    """The boxes of optimizers, those of one program as one where all that they drive stands in one box.

    So have the projections of attention, which are levels each with its own, one box for their optimizers.
    `box_of` gives the name of the box in which a level stands.
    """
    together: dict[object, list[Drivers]] = defaultdict(list)
    for group in driving:
        boxes = {box_of[id] for id in group.drives}
        program = group.place.removeprefix(f"{group.levels[0].owner}.")
        inside = tuple((level.kind, level.name) for level in group.levels)
        key = (program, group.speed, inside, *boxes) if len(boxes) == 1 else group.id
        together[key].append(group)
    stands = {group.id: groups[0].id for groups in together.values() for group in groups}
    found: list[Drivers] = []
    for groups in together.values():
        one = groups[0]
        if len(groups) > 1:
            program = one.place.removeprefix(f"{one.levels[0].owner}.")
            one = replace(
                one,
                place=f"{box_of[one.drives[0]]}.{program}",
                levels=tuple(level for group in groups for level in group.levels),
                drives=tuple(id for group in groups for id in group.drives),
                copies=len(groups),
            )
        found.append(replace(one, first=stands[one.first]))
    return tuple(found)


def _place(level: Level) -> str:
    """The program that an optimizer's level is of, at its place: `@train.adamw[4]`, `head.sgd`."""
    return f"{level.owner}.{level.id.removeprefix(f'{level.owner}.').partition('.')[0]}"


def between_boxes(edges: Iterable[Edge], groups: Iterable[Drivers]) -> tuple[Edge, ...]:
    """Edges with boxes of optimizers in place of their levels, each once.

    A box leads to the first one of its program, or is that and leads to what it drives.
    """
    box_of = {level.id: group for group in groups for level in group.levels}
    found: dict[Edge, None] = {}
    for edge in edges:
        group = box_of.get(edge.source)
        if group is None:
            found[edge] = None
        elif edge.type is EdgeType.OPTIMIZE:
            target = edge.target if group.first == group.id else group.first
            found[Edge(group.id, target, EdgeType.OPTIMIZE)] = None
        elif box_of[edge.target] is not group:
            found[Edge(group.id, box_of[edge.target].id, edge.type)] = None
    reads = {(edge.source, edge.target) for edge in found if edge.type is EdgeType.READ}
    return tuple(
        edge
        for edge in found
        if edge.type is not EdgeType.OPTIMIZE or (edge.source, edge.target) not in reads
    )
