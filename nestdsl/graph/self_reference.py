"""Self-reference: levels whose next state depends on what is read from them [Nested Learning, Eq. 83-93].

Such a read sees the state at the start of the current chunk (the anchor), whatever the level's
`read` says: it is needed before the state of this chunk can be. Without these reads no circle is
left, so the model runs chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Collection

import networkx

from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Read
from nestdsl.vocabulary.signatures import LIBRARY

LEARNING = (EdgeType.KEY, EdgeType.VALUE, EdgeType.GENERATE)


def circles(graph: NestGraph) -> list[set[str]]:
    """The sets of nodes that depend on one another through the next state of some level."""
    if not any(type in LEARNING for _, _, type in graph.edges()):
        return []  # only a learning edge closes a circle
    whole = graph.part((EdgeType.READ, *LEARNING))
    return [
        component
        for component in networkx.strongly_connected_components(whole)
        if len(component) > 1 or any(whole.has_edge(id, id) for id in component)
    ]


def anchored_reads(graph: NestGraph) -> set[str]:
    """The ids of the reads on which their own level's next state depends.

    Attention has no earlier state: in a circle it is read as ever, and others must break the circle.
    """
    found: set[str] = set()
    for circle in circles(graph):
        for id in circle:
            node = graph[id]
            if isinstance(node, Read) and node.level in circle and _has_anchor(graph, node.level):
                found.add(id)
    return found


def _has_anchor(graph: NestGraph, level: str) -> bool:
    return not LIBRARY.kinds[graph.level(level).kind].is_nonparametric


def self_referential_levels(graph: NestGraph, anchored: set[str]) -> set[str]:
    """The ids of the levels that anchored reads look at."""
    return {node.level for id in anchored if isinstance(node := graph[id], Read)}


def without_anchored_reads(
    graph: NestGraph, types: Collection[EdgeType], anchored: set[str]
) -> networkx.DiGraph:
    """The edges of some types, without those from a level to the reads that look at its anchor."""
    part = graph.part(types)
    part.remove_edges_from([(node.level, id) for id in anchored if isinstance(node := graph[id], Read)])
    return part
