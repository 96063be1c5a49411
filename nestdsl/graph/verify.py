"""Invariants of a graph that has passed every check. A failure here is a fault of the compiler."""

from __future__ import annotations

import networkx

from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import TRAIN, EdgeType, Flow, Learning, Level, Operation, Read, Train


class InvariantError(Exception):
    """A graph broke its promises: a fault of the compiler, never of the user."""


def verify(graph: NestGraph) -> None:
    """Raises InvariantError unless every promise of `semantics -> graph -> plan` holds."""
    _require(TRAIN in graph and isinstance(graph[TRAIN], Train), "the graph has a `train` node")
    _require("in" in graph and "out" in graph, "the model has `in` and `out`")
    for id in graph.networkx:
        _require(id in graph, f"{id} is a node")
        node = graph[id]
        _require(node.id == id, f"{id} knows its own id")
        _require(isinstance(node, Train) or node.scope in graph.scopes, f"{id} stands in a scope")
        match node:
            case Flow():
                _require(len(graph.sources(id, EdgeType.READ)) == 1, f"flow {id} has one source")
            case Operation(operands=operands):
                flows = tuple(operand for operand in operands if isinstance(operand, str))
                _require(graph.sources(id, EdgeType.READ) == flows, f"{id} has an edge for each operand")
            case Read(level=level, operand=operand):
                _require(isinstance(graph[level], Level), f"{id} reads a level")
                _require(graph.sources(id, EdgeType.READ) == (operand, level), f"{id} has its edges")
            case Level():
                _verify_level(graph, node)
        if not isinstance(node, Level | Train):
            _require(graph.sizes.get(id, 0) > 0, f"{id} has a size")
    reads = graph.part((EdgeType.READ,))
    _require(networkx.is_directed_acyclic_graph(reads), "reads form no cycle")


def _verify_level(graph: NestGraph, level: Level) -> None:
    _require(level.period >= 1 and level.chunk >= 1, f"{level.id} has a period")
    keys, values = graph.sources(level.id, EdgeType.KEY), graph.sources(level.id, EdgeType.VALUE)
    wanted = 1 if level.learning is Learning.ASSOCIATION else 0
    _require(len(keys) == len(values) == wanted, f"{level.id} has a key and a value if it learns them")
    if not level.owner:
        _require(level.id in graph.level_sizes, f"{level.id} has sizes")
    flows = tuple(source for _, source in level.optimizer.flows) if level.optimizer else ()
    _require(graph.sources(level.id, EdgeType.GENERATE) == flows, f"{level.id} has an edge for each argument")


def _require(holds: bool, promise: str) -> None:
    if not holds:
        raise InvariantError(f"this does not hold: {promise}")
