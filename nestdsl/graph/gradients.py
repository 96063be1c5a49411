"""Which levels the gradient of the model's loss reaches."""

from __future__ import annotations

from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Level, Operation
from nestdsl.vocabulary.timing import STOP

_THROUGH_MEMORY = (EdgeType.KEY, EdgeType.VALUE, EdgeType.GENERATE)


def reached_levels(graph: NestGraph) -> set[str]:
    """The ids of the levels that are read on the way to `out` with nothing that stops a gradient.

    `stop` lets none through, and a memory with `gradient stop` none to what it learns from. A level
    that starts from another has no weights of its own: their gradient is that of the other's start.
    """
    reached: set[str] = set()
    waiting = ["out"]
    while waiting:
        id = waiting.pop()
        if id in reached or id not in graph:
            continue
        reached.add(id)
        node = graph[id]
        if isinstance(node, Operation) and node.function == "stop":
            continue
        through = (EdgeType.READ, EdgeType.INIT)
        if isinstance(node, Level) and node.gradient != STOP:
            through = (*through, *_THROUGH_MEMORY)
        waiting += [source for source, _, type in graph.networkx.in_edges(id, data="type") if type in through]
    return {id for id in reached if isinstance(graph[id], Level)}
