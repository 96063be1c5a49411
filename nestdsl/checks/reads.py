"""N0301: reads form no cycle. A `learn` edge may close one: it reaches a level's next state."""

from __future__ import annotations

from itertools import pairwise

import networkx

from nestdsl.diagnostics import Diagnostics, Note
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Flow, Level, Train
from nestdsl.graph.self_reference import LEARNING, anchored_reads, circles, without_anchored_reads
from nestdsl.vocabulary.clauses import CHUNK, LEARN

_MOST_SHOWN = 20
"""Flows that a message names."""


def check_reads(graph: NestGraph, diagnostics: Diagnostics) -> None:
    reads = graph.part((EdgeType.READ,))
    # A mistake in a flow does not hide a circle that it is part of.
    reads.add_edges_from(
        (source, flow) for flow, sources in graph.mentions.items() for source in sources if source in graph
    )
    is_acyclic = True
    for circular in _circular_parts(reads):
        _report_cycle(graph, networkx.find_cycle(circular), diagnostics)
        is_acyclic = False
    if is_acyclic:
        _check_self_reference(graph, diagnostics)
        _check_attention(graph, diagnostics)


def _circular_parts(reads: networkx.DiGraph) -> list[networkx.DiGraph]:
    """The parts of a graph in which every node leads back to itself."""
    parts = {
        id: number
        for number, part in enumerate(networkx.strongly_connected_components(reads))
        if len(part) > 1 or any(reads.has_edge(id, id) for id in part)
        for id in part
    }
    # Copies in the graph's own order: of a subgraph networkx may take the order of a set.
    edges: dict[int, list[tuple[str, str]]] = {}
    for source, target in reads.edges():
        if source in parts and parts[source] == parts.get(target):
            edges.setdefault(parts[source], []).append((source, target))
    return [networkx.DiGraph(edges[number]) for number in sorted(edges)]


def _report_cycle(graph: NestGraph, cycle: list[tuple[str, ...]], diagnostics: Diagnostics) -> None:
    nodes = [node for edge in cycle if isinstance(node := graph[edge[0]], Flow)]
    flows = [flow for flow in nodes if flow.name != "in" and not flow.name.endswith((".in", ".out"))]
    flows = flows or nodes
    first = min(range(len(flows)), key=lambda place: flows[place].span.start)
    flows = flows[first:] + flows[:first]
    shown, left = flows[:_MOST_SHOWN], len(flows) - _MOST_SHOWN
    more = [f"{left:,} more"] if left > 0 else []
    path = " -> ".join([*(flow.name for flow in shown), *more, flows[0].name])
    notes = tuple(Note(f"`{flow.name}` is part of it", flow.span) for flow in shown[1:])
    diagnostics.report(
        "N0301",
        f"these flows read one another in a circle: {path}",
        flows[0].span,
        "only a `learn` clause may close a circle: it reaches a level's next state",
        notes,
    )


def _check_attention(graph: NestGraph, diagnostics: Diagnostics) -> None:
    """A circle through attention needs a memory in it: attention has no earlier state to read."""
    left = without_anchored_reads(graph, (EdgeType.READ, *LEARNING), anchored_reads(graph))
    for component in networkx.strongly_connected_components(left):
        if len(component) > 1:
            levels = [node for id in sorted(component) if isinstance(node := graph[id], Level)]
            diagnostics.report(
                "N0301",
                f"`{levels[0].name}` learns from what is read from it, but attention is recomputed at every "
                "token: it has no earlier state",
                levels[0].clause(LEARN),
                "let it learn from flows that do not come from it, or from a memory that learns from it",
            )


def _check_self_reference(graph: NestGraph, diagnostics: Diagnostics) -> None:
    """What circles through next states must keep to: one body each, and in it chunks that divide one another,
    since all circles of a body run chunk by chunk together."""
    bodies: dict[str, list[Level]] = {}
    for circle in circles(graph):
        levels = [node for id in sorted(circle) if isinstance(node := graph[id], Level)]
        scopes = {node.scope for id in circle if not isinstance(node := graph[id], Train)}
        if len(scopes) > 1:
            diagnostics.report(
                "N0407",
                f"`{levels[0].name}` learns from what is read from itself through another block, "
                "which this compiler cannot run yet",
                levels[0].clause(LEARN),
                "write the flows from the level back to it in one body",
            )
        for level in levels:
            bodies.setdefault(level.scope, []).append(level)
    for levels in bodies.values():
        chunks = sorted({(level.chunk, level.name) for level in levels if level.in_context})
        for (shorter, _), (longer, name) in pairwise(chunks):
            if longer % shorter:
                level = next(level for level in levels if level.name == name)
                diagnostics.report(
                    "N0402",
                    f"the chunks of {shorter} and {longer} tokens of memories that read themselves or one "
                    "another do not divide one another",
                    level.clause(CHUNK),
                    f"choose a multiple of {shorter}",
                )
