"""The order of levels (Definition 2 of Nested Learning).

A is faster than B if it is updated more often, or equally often and B's state at a time needs
A's state at the same time. Levels neither of which is faster share a rank. The order is over
declared levels: the copies that `repeat` makes share one rank, and what one copy needs of
another does not count.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction

import networkx

from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Flow, Level, Read
from nestdsl.graph.self_reference import anchored_reads, without_anchored_reads
from nestdsl.vocabulary.signatures import LIBRARY
from nestdsl.vocabulary.timing import Every, EveryRead, Frequency, Never, ReadTime, Unit

Speed = tuple[int, Fraction]
"""Sorts: (3, ·) recomputed at every read, (2, updates per token), (1, updates per step), (0, ·) never."""


@dataclass(frozen=True, slots=True)
class Rank:
    """Levels of equal speed. `number` 1 is the fastest; `levels` are declared names."""

    number: int
    speed: Speed
    levels: tuple[str, ...]


def speed(level: Level) -> Speed:
    """How often a level is updated, to be compared."""
    kind = LIBRARY.kinds.get(level.kind)
    if kind is not None and kind.is_nonparametric:
        return (3, Fraction(1))
    if level.frozen:
        return (0, Fraction(0))
    return (2 if level.unit is Unit.TOKEN else 1, Fraction(level.iterations, level.period))


def how_often(level: Level) -> Frequency:
    """How often a level is updated, as its program says it."""
    match speed(level)[0]:
        case 3:
            return EveryRead()
        case 0:
            return Never()
    return Every(level.iterations, level.period, level.unit)


def describe_frequency(level: Level) -> str:
    """`every token`, `every 16 steps`, `every read` or `never`."""
    return str(how_often(level))


def order(graph: NestGraph) -> tuple[Rank, ...]:
    """The ranks of all declared levels, the fastest first.

    The graph must be free of cycles of reads.
    """
    depths = _depths(graph)
    groups: dict[tuple[Speed, int], dict[str, None]] = defaultdict(dict)
    for level in graph.levels():
        groups[speed(level), depths[level.declared]].setdefault(level.declared)
    fastest_first = sorted(groups, key=lambda key: (key[0], -key[1]), reverse=True)
    return tuple(
        Rank(number, fast, tuple(groups[fast, depth]))
        for number, (fast, depth) in enumerate(fastest_first, 1)
    )


def _depths(graph: NestGraph) -> dict[str, int]:
    """For each declared level, how many levels of its own frequency its state waits for at each time.

    One pass along the flows carries, for each frequency, the longest chain of levels whose
    state at this time a flow depends on.
    """
    anchored = anchored_reads(graph)
    depths: dict[str, int] = {level.declared: 0 for level in graph.levels()}
    reached: dict[str, dict[Speed, int]] = {}
    first_in: dict[str, dict[Speed, int]] = {}
    for id in networkx.topological_sort(without_anchored_reads(graph, _STATE_EDGES, anchored)):
        node = graph[id]
        waits: dict[Speed, int] = {}
        for source, _, type in graph.networkx.in_edges(id, data="type"):
            if type in _STATE_EDGES:
                for own, depth in reached.get(source, {}).items():
                    waits[own] = max(depth, waits.get(own, 0))
        match node:
            case Level():
                own = speed(node)
                if waits.get(own, 0) > depths[node.declared]:
                    depths[node.declared] = waits[own]
                reached[id] = {own: depths[node.declared] + 1} if node.in_context or node.owner else {}
                continue
            case Read() if id in anchored or graph.level(node.level).read is not ReadTime.AFTER:
                waits = dict(reached.get(node.operand, {}))
            case Flow() if node.name == "in" and node.scope:
                # What the first copy is given counts for all: copies do not wait for each other.
                waits = first_in.setdefault(graph.scopes[node.scope].declared, waits)
        reached[id] = waits
    return depths


_STATE_EDGES = frozenset((EdgeType.READ, EdgeType.KEY, EdgeType.VALUE, EdgeType.GENERATE, EdgeType.OPTIMIZE))
