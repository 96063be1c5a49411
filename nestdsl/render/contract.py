"""Context flows between levels: the paths of a graph with operations and named flows left out."""

from __future__ import annotations

from collections.abc import Iterator

from nestdsl.graph.nodes import TRAIN, EdgeType, Input, Level, Read, Train
from nestdsl.render.fold import Edge, Folded, data_order

_DATA = (EdgeType.READ, EdgeType.KEY, EdgeType.VALUE, EdgeType.GENERATE)


def contract(folded: Folded, passed: frozenset[str] = frozenset()) -> tuple[Edge, ...]:
    """Edges from levels (and `in`) to levels and `train`, each sort of edge between two ends once.

    What reaches a reader only by way of another level that it reads has no edge of its own: of
    a stream with residual connections the chain is left, not every pair. Flows go through the
    levels in `passed` as if they were operations.
    """
    frontiers = _Frontiers(folded, passed)
    levels = folded.levels()
    found: dict[Edge, None] = {}
    for edge in folded.edges:
        if edge.type not in _DATA or (edge.source in levels and edge.target in levels):
            # Levels of an optimizer read one another's states without a flow between them.
            found[edge] = None
        elif edge.target in levels:
            for source in frontiers.sources(edge.source):
                found[Edge(source, edge.target, edge.type, edge.argument)] = None
        elif (
            isinstance(read := folded.nodes[edge.target], Read)
            and edge.source not in levels
            and (level := folded.level_of(read)) not in passed
        ):
            for source in frontiers.sources(edge.source):
                found[Edge(source, level, EdgeType.READ)] = None
    for source in frontiers.sources("out"):
        found[Edge(source, TRAIN, EdgeType.READ)] = None
    return tuple(edge for edge in found if edge.source != edge.target)


class _Frontiers:
    """For each flow, the reads that it depends on directly; sets are bits of whole numbers, for speed."""

    def __init__(self, folded: Folded, passed: frozenset[str]) -> None:
        self._origins: list[str] = []
        """What stands at each bit: a level that is read, or the input."""
        before: list[int] = []
        """For each bit, all that its read depends on."""
        self._frontier: dict[str, int] = {}
        incoming: dict[str, list[str]] = {}
        for edge in folded.edges:
            if edge.type is EdgeType.READ:
                incoming.setdefault(edge.target, []).append(edge.source)
        for id in data_order(folded):
            node = folded.nodes[id]
            if isinstance(node, Level | Train):
                continue
            reached = 0
            for source in incoming.get(id, ()):
                reached |= self._frontier.get(source, 0)
            behind = 0
            for bit in _bits(reached):
                behind |= before[bit]
            origin = folded.level_of(node) if isinstance(node, Read) else id
            if isinstance(node, Read | Input) and origin not in passed:
                before.append(behind | reached)
                self._origins.append(origin)
                reached, behind = 1 << (len(before) - 1), 0
            self._frontier[id] = reached & ~behind

    def sources(self, flow: str) -> Iterator[str]:
        return (self._origins[bit] for bit in _bits(self._frontier[flow]))


def _bits(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
