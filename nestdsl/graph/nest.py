"""NestGraph: a typed face on a networkx multigraph of levels, flows and what passes between."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, TypeVar

import networkx

from nestdsl.graph.nodes import TRAIN, EdgeType, Level, Node, Operation, Read, Scope, Train

NodeT = TypeVar("NodeT")


class NestGraph:
    """One model, fully elaborated.

    `networkx` is the graph itself: every node has the attribute `node` (a frozen dataclass of
    `graph/nodes.py`), every edge `type` (an EdgeType) and `position` (its place among the
    operands). What `inference` fills: `sizes` is the size of each flow-like node; `ids` are the flows of ids
    instead of vectors; `level_sizes` is what each level reads and makes; `stored_weights` is the name of each
    weight of a level that starts from a file, with that of its tensor.

    `mentions` are the flows that stand in a flow which could not be read. `unsure` are the levels with a
    clause that could not be read, and `lacks_flows` says that some flow could not: what seems to be missing
    there is no second mistake.
    """

    def __init__(self, name: str, parameters: tuple[tuple[str, Any], ...] = ()) -> None:
        self.name = name
        self.parameters = parameters
        self.networkx: networkx.MultiDiGraph = networkx.MultiDiGraph(name=name)
        self.scopes: dict[str, Scope] = {}
        self.sizes: dict[str, int] = {}
        self.ids: set[str] = set()
        self.level_sizes: dict[str, tuple[int, int]] = {}
        self.stored_weights: dict[str, tuple[tuple[str, str], ...]] = {}
        self.mentions: dict[str, tuple[str, ...]] = {}
        self.unsure: set[str] = set()
        self.lacks_flows = False

    # --- building ------------------------------------------------------------------------

    def add(self, node: Node) -> str:
        """Adds a node with the edges that its own fields name; gives back its id."""
        self.networkx.add_node(node.id, node=node)
        match node:
            case Operation():
                for position, operand in enumerate(node.operands):
                    if isinstance(operand, str):
                        self.connect(operand, node.id, EdgeType.READ, position)
            case Read():
                self.connect(node.operand, node.id, EdgeType.READ, 0)
                self.connect(node.level, node.id, EdgeType.READ, 1)
        return node.id

    def reserve(self, id: str) -> None:
        """Keeps a node's place in the order of the program until `add` says what it is."""
        self.networkx.add_node(id)

    def connect(self, source: str, target: str, type: EdgeType, position: int = 0) -> None:
        self.networkx.add_edge(source, target, key=f"{type.value}{position}", type=type, position=position)

    def prune(self) -> None:
        """Removes all that `out` does not depend on (N0304 has named it).

        What enters a block stays even if the block makes nothing of it.
        """
        needed = {TRAIN, "in", "out", *networkx.ancestors(self.networkx, "out")}
        entered = True
        while entered:
            entered = {
                f"{scope.id}.in"
                for scope in self.scopes.values()
                if scope.id and f"{scope.id}.out" in needed and f"{scope.id}.in" not in needed
            }
            needed |= entered | {node for id in entered for node in networkx.ancestors(self.networkx, id)}
        self.networkx.remove_nodes_from([id for id in self.networkx if id not in needed])

    # --- reading -------------------------------------------------------------------------

    def __contains__(self, id: str) -> bool:
        """Whether a node is there and is no mere place: what could not be read keeps its place alone."""
        return "node" in self.networkx.nodes.get(id, {})

    def __getitem__(self, id: str) -> Node:
        return self.networkx.nodes[id]["node"]

    def nodes(self, kind: type[NodeT]) -> Iterator[NodeT]:
        """All nodes of one class, in the order of the program."""
        for _, node in self.networkx.nodes(data="node"):
            if isinstance(node, kind):
                yield node

    def levels(self) -> Iterator[Level]:
        return self.nodes(Level)

    def level(self, id: str) -> Level:
        node = self[id]
        assert isinstance(node, Level), id
        return node

    @property
    def train(self) -> Train:
        node = self[TRAIN]
        assert isinstance(node, Train)
        return node

    def sources(self, id: str, type: EdgeType) -> tuple[str, ...]:
        """What reaches a node by edges of one type, in the order of their position."""
        found = [
            (position, source) for source, _, edge_type, position in self._edges_into(id) if edge_type is type
        ]
        return tuple(source for _, source in sorted(found))

    def source(self, id: str, type: EdgeType) -> str | None:
        """The one node that reaches this one by an edge of that type, if there is one."""
        sources = self.sources(id, type)
        return sources[0] if sources else None

    def targets(self, id: str, type: EdgeType) -> tuple[str, ...]:
        """The nodes that edges of one type lead to from here."""
        return tuple(
            target for _, target, data in self.networkx.out_edges(id, data=True) if data["type"] is type
        )

    def reads_of(self, level: str) -> tuple[Read, ...]:
        """The places where a level is read."""
        found = (self[target] for target in self.targets(level, EdgeType.READ))
        return tuple(node for node in found if isinstance(node, Read))

    def parent(self, level: Level) -> Level | None:
        """The level whose state this one starts from; None if there is none, or it could not be read."""
        node = self.networkx.nodes.get(level.init.level, {}).get("node")
        return node if isinstance(node, Level) else None

    def part(self, types: Collection[EdgeType]) -> networkx.DiGraph:
        """A plain graph of the edges of some types: much faster to walk than a view of the whole.

        A level that could not be read (its mistake is reported) is no part of it.
        """
        whole = self.networkx
        found: networkx.DiGraph = networkx.DiGraph()
        found.add_edges_from(
            (source, target)
            for source, target, type in whole.edges(data="type")
            if type in types and whole.nodes[source] and whole.nodes[target]
        )
        return found

    def edges(self) -> Iterator[tuple[str, str, EdgeType]]:
        yield from self.networkx.edges(data="type")

    def _edges_into(self, id: str) -> Iterator[tuple[str, str, EdgeType, int]]:
        for source, target, data in self.networkx.in_edges(id, data=True):
            yield source, target, data["type"], data["position"]
