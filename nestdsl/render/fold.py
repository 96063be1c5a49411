"""What a picture draws of a graph: the copies of a repeat once, and optimizers' memories only on request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import networkx

from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Level, Node, Read, Scope, Train
from nestdsl.graph.order import Rank, order
from nestdsl.plan.cost import level_parameters


@dataclass(frozen=True, slots=True)
class Edge:
    """An edge between folded ids. `argument` names what a generated flow sets."""

    source: str
    target: str
    type: EdgeType
    argument: str = ""


@dataclass(frozen=True, slots=True)
class Folded:
    """A graph in which the first copy of each repeat stands for all of them.

    Ids are declared ones (`stack[*].memory`). `nodes` and `scopes` hold first copies, in the order
    of the program; `copies` and `parameters` count over all copies of a level. `ranks` are those of the
    model's own levels, which what drives them does not change.
    """

    graph: NestGraph
    nodes: dict[str, Node]
    scopes: dict[str, Scope]
    edges: tuple[Edge, ...]
    copies: dict[str, int]
    parameters: dict[str, int]
    ranks: tuple[Rank, ...]

    def levels(self) -> dict[str, Level]:
        return {id: node for id, node in self.nodes.items() if isinstance(node, Level)}

    def level_of(self, read: Read) -> str:
        """The folded id of the level that is read."""
        return self.graph.level(read.level).declared

    def id_of(self, id: str) -> str:
        """The folded id of a node of the graph."""
        return _folded(self.graph, self.graph[id])

    def scope_of(self, id: str) -> str:
        """The folded id of the scope in which a node stands."""
        node = self.nodes[id]
        return "" if isinstance(node, Train) else self.graph.scopes[node.scope].declared


def fold(graph: NestGraph, optimizers: bool = False) -> Folded:
    """Folds a checked graph; without `optimizers`, levels inside of optimizers are left out."""
    own = _own(graph)
    visible = graph if optimizers else own
    scopes = {scope.declared: scope for scope in graph.scopes.values() if _is_first(graph, scope)}
    first = {scope.id for scope in scopes.values()}
    nodes: dict[str, Node] = {}
    copies: Counter[str] = Counter()
    parameters: Counter[str] = Counter()
    for id in visible.networkx:
        node = graph[id]
        if isinstance(node, Train) or node.scope in first:
            nodes[_folded(graph, node)] = node
        if isinstance(node, Level):
            copies[node.declared] += 1
            parameters[node.declared] += level_parameters(graph, node)
    edges = dict.fromkeys(
        Edge(_folded(graph, graph[source]), target, data["type"], _argument(node, data))
        for target, node in nodes.items()
        for source, _, data in visible.networkx.in_edges(node.id, data=True)
    )
    return Folded(graph, nodes, scopes, tuple(edges), dict(copies), dict(parameters), order(own))


def data_order(folded: Folded) -> list[str]:
    """All folded ids, each after what it reads."""
    reads: networkx.DiGraph = networkx.DiGraph()
    reads.add_nodes_from(folded.nodes)
    reads.add_edges_from((edge.source, edge.target) for edge in folded.edges if edge.type is EdgeType.READ)
    return list(networkx.topological_sort(reads))


def _own(graph: NestGraph) -> NestGraph:
    """The graph without the levels of optimizers, so that they order nothing."""
    own = NestGraph(graph.name, graph.parameters)
    # A subgraph may iterate a set, whose order changes from run to run.
    own.networkx = graph.networkx.copy()
    own.networkx.remove_nodes_from([level.id for level in graph.levels() if level.owner])
    own.scopes = graph.scopes
    return own


def _folded(graph: NestGraph, node: Node) -> str:
    if isinstance(node, Train):
        return node.id
    if isinstance(node, Level):
        return node.declared
    scope = graph.scopes[node.scope]
    return scope.declared + node.id[len(scope.id) :]


def _is_first(graph: NestGraph, scope: Scope) -> bool:
    while scope.copy == 0 and scope.parent is not None:
        scope = graph.scopes[scope.parent]
    return scope.copy == 0


def _argument(node: Node, edge: Mapping[str, Any]) -> str:
    if edge["type"] is EdgeType.GENERATE and isinstance(node, Level) and node.optimizer is not None:
        return node.optimizer.flows[edge["position"]][0]
    return ""
