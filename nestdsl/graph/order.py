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
from nestdsl.graph.nodes import EdgeType, Flow, Level, Read, Unit
from nestdsl.graph.self_reference import anchored_reads, without_anchored_reads
from nestdsl.vocabulary.signatures import LIBRARY

Frequency = tuple[int, Fraction]
"""Sorts: (3, ·) re-solved at every read, (2, updates per token), (1, updates per step), (0, ·) never."""


@dataclass(frozen=True, slots=True)
class Rank:
    """Levels of equal speed. `number` 1 is the fastest; `levels` are declared names."""

    number: int
    frequency: Frequency
    levels: tuple[str, ...]


def frequency(level: Level) -> Frequency:
    """How often a level is updated."""
    kind = LIBRARY.kinds.get(level.kind)
    if kind is not None and kind.is_nonparametric:
        return (3, Fraction(1))
    if level.frozen:
        return (0, Fraction(0))
    return (2 if level.unit is Unit.TOKEN else 1, Fraction(level.iterations, level.period))


def describe_frequency(level: Level) -> str:
    """`every token`, `every 16 steps`, `every read` or `never`."""
    match frequency(level)[0]:
        case 3:
            return "every read"
        case 0:
            return "never"
    unit = level.unit.value
    if level.iterations > 1:
        often = f"{level.iterations} times"
        return f"{often} a {unit}" if level.period == 1 else f"{often} in {level.period} {unit}s"
    return f"every {unit}" if level.period == 1 else f"every {level.period} {unit}s"


def order(graph: NestGraph) -> tuple[Rank, ...]:
    """The ranks of all declared levels, the fastest first.

    The graph must be free of cycles of reads.
    """
    depths = _depths(graph)
    groups: dict[tuple[Frequency, int], dict[str, None]] = defaultdict(dict)
    for level in graph.levels():
        speed = frequency(level)
        groups[speed, depths[level.declared]].setdefault(level.declared)
    fastest_first = sorted(groups, key=lambda key: (key[0], -key[1]), reverse=True)
    return tuple(
        Rank(number, speed, tuple(groups[speed, depth]))
        for number, (speed, depth) in enumerate(fastest_first, 1)
    )


def _depths(graph: NestGraph) -> dict[str, int]:
    """For each declared level, how many levels of its own frequency its state waits for at each time.

    One pass along the flows carries, for each frequency, the longest chain of levels whose
    state at this time a flow depends on.
    """
    anchored = anchored_reads(graph)
    depths: dict[str, int] = {level.declared: 0 for level in graph.levels()}
    reached: dict[str, dict[Frequency, int]] = {}
    first_in: dict[str, dict[Frequency, int]] = {}
    for id in networkx.topological_sort(without_anchored_reads(graph, _STATE_EDGES, anchored)):
        node = graph[id]
        waits: dict[Frequency, int] = {}
        for source, _, type in graph.networkx.in_edges(id, data="type"):
            if type in _STATE_EDGES:
                for speed, depth in reached.get(source, {}).items():
                    waits[speed] = max(depth, waits.get(speed, 0))
        match node:
            case Level():
                speed = frequency(node)
                if waits.get(speed, 0) > depths[node.declared]:
                    depths[node.declared] = waits[speed]
                reached[id] = {speed: depths[node.declared] + 1} if node.in_context or node.owner else {}
                continue
            case Read() if id in anchored or graph.level(node.level).read != "after":
                waits = dict(reached.get(node.operand, {}))
            case Flow() if node.name == "in" and node.scope:
                # What the first copy is given counts for all: copies do not wait for each other.
                waits = first_in.setdefault(graph.scopes[node.scope].declared, waits)
        reached[id] = waits
    return depths


_STATE_EDGES = frozenset((EdgeType.READ, EdgeType.KEY, EdgeType.VALUE, EdgeType.GENERATE, EdgeType.OPTIMIZE))
