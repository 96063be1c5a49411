"""Which levels go on from one sequence of a stream to the next (`reset never`)."""

from __future__ import annotations

from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Level
from nestdsl.vocabulary.timing import Reset


def is_carried(graph: NestGraph, level: Level) -> bool:
    """Whether a level's state goes on: it is never reset, or only with a parent that goes on itself."""
    if level.reset is Reset.PARENT:
        parent = graph.parent(level)
        return parent is not None and parent.in_context and is_carried(graph, parent)
    return level.reset is Reset.NEVER
