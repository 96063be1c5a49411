"""Boxes for the levels of optimizers: those of one program and rank that drive the same stand in one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from nestdsl.graph.driving import ITERATION
from nestdsl.graph.nodes import EdgeType, Level
from nestdsl.graph.order import describe_frequency
from nestdsl.render.fold import Edge, Folded
from nestdsl.render.style import FAINT, label, text
from nestdsl.render.words import SMALL, shown


def place_of(level: Level) -> str:
    """The program that an optimizer's level is of, at its place: `@train.adamw[4]`, `head.sgd`."""
    return f"{level.owner}.{level.id.removeprefix(f'{level.owner}.').partition('.')[0]}"


def together(folded: Folded, ids: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """The levels of optimizers among `ids`, of one rank, that share a box."""
    levels = folded.levels()
    drives: dict[str, set[str]] = defaultdict(set)
    for edge in folded.edges:
        if edge.type is EdgeType.OPTIMIZE or (edge.source in levels and edge.target in levels):
            drives[edge.source].add(edge.target)
    groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for id in ids:
        if levels[id].owner:
            name = levels[id].kind if levels[id].kind == ITERATION else ""
            groups[place_of(levels[id]), name, tuple(sorted(drives[id]))].append(id)
    return tuple(tuple(group) for group in groups.values())


def driver_label(levels: list[Level]) -> str:
    """`train.adamw`, `ema m, v`, `every step`."""
    names: dict[str, list[str]] = defaultdict(list)
    for level in levels:
        names[level.kind].append(level.name)
    rows = [text(shown(place_of(levels[0])), bold=True)]
    for kind, found in names.items():
        if kind == ITERATION:
            rows.append(text(kind, 10))
        else:
            rows.append(text(f"{kind} ", 10) + text(", ".join(found), 10, bold=True))
    return label([*rows, text(describe_frequency(levels[0]), SMALL, color=FAINT)])


def last_of_chains(edges: Iterable[Edge]) -> tuple[Edge, ...]:
    """Edges of optimizers without those that go by way of another level of theirs.

    A momentum that is made orthogonal before it moves a weight reaches it by the iteration alone.
    """
    found = tuple(edges)
    moves = {(edge.source, edge.target) for edge in found if edge.type is EdgeType.OPTIMIZE}
    readers: dict[str, list[str]] = defaultdict(list)
    for edge in found:
        if edge.type is EdgeType.READ:
            readers[edge.source].append(edge.target)
    return tuple(
        edge
        for edge in found
        if edge.type is not EdgeType.OPTIMIZE
        or not any((reader, edge.target) in moves for reader in readers[edge.source])
    )
