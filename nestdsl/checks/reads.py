"""N0301: reads form no cycle. A `learn` edge may close one: it reaches a level's next state."""

from __future__ import annotations

import networkx

from nestdsl.diagnostics import Diagnostics, Note
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Flow, Level

_LEARNING = (EdgeType.KEY, EdgeType.VALUE, EdgeType.GENERATE)


def check_reads(graph: NestGraph, diagnostics: Diagnostics) -> None:
    reads = graph.part((EdgeType.READ,))
    is_acyclic = True
    for component in networkx.strongly_connected_components(reads):
        if len(component) > 1 or any(reads.has_edge(id, id) for id in component):
            _report_cycle(graph, networkx.find_cycle(reads.subgraph(component)), diagnostics)
            is_acyclic = False
    if is_acyclic:
        _check_self_reference(graph, diagnostics)


def _report_cycle(graph: NestGraph, cycle: list[tuple[str, ...]], diagnostics: Diagnostics) -> None:
    nodes = [node for edge in cycle if isinstance(node := graph[edge[0]], Flow)]
    flows = [flow for flow in nodes if flow.name != "in" and not flow.name.endswith((".in", ".out"))]
    flows = flows or nodes
    first = min(range(len(flows)), key=lambda place: flows[place].span.start)
    flows = flows[first:] + flows[:first]
    path = " -> ".join(flow.name for flow in [*flows, flows[0]])
    notes = tuple(Note(f"`{flow.name}` is part of it", flow.span) for flow in flows[1:])
    diagnostics.report(
        "N0301",
        f"these flows read one another in a circle: {path}",
        flows[0].span,
        "only a `learn` clause may close a circle: it reaches a level's next state",
        notes,
    )


def _check_self_reference(graph: NestGraph, diagnostics: Diagnostics) -> None:
    """N0407: memories whose own keys, values or steps are read from themselves."""
    whole = graph.part((EdgeType.READ, *_LEARNING))
    for component in networkx.strongly_connected_components(whole):
        for id in sorted(component):
            node = graph[id]
            if isinstance(node, Level) and (len(component) > 1 or whole.has_edge(id, id)):
                diagnostics.report(
                    "N0407",
                    f"`{node.name}` learns from what is read from itself; this compiler cannot run that yet",
                    node.clause("learn"),
                    "learn from flows that do not read this level",
                )
