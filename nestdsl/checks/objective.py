"""N0405: what a model gives suits its objective."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics, Severity
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Flow, Operation


def check_objective(graph: NestGraph, diagnostics: Diagnostics) -> None:
    """Warns of a `softmax` before `cross_entropy`, which has one: with two the loss hardly moves."""
    if graph.train.objective != "cross_entropy":
        return
    id: str | None = "out"
    while id is not None and id in graph and isinstance(graph[id], Flow):
        id = graph.source(id, EdgeType.READ)
    node = graph[id] if id is not None and id in graph else None
    if isinstance(node, Operation) and node.function == "softmax":
        diagnostics.report(
            "N0405",
            "`cross_entropy` takes numbers of any size, logits: this makes probabilities of them",
            node.span,
            "leave `softmax` out of what becomes `out`",
            severity=Severity.WARNING,
        )
