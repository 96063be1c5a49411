"""What is inferred of a graph: its sizes, and the weights that its levels start from.

A mistake is reported where something cannot be inferred; what is there and does not suit is for the checks.
"""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.inference.sizes import infer_sizes
from nestdsl.inference.weights import infer_weights


def infer(graph: NestGraph, diagnostics: Diagnostics, *, weights: bool = True) -> None:
    """Fills `sizes`, `level_sizes`, `ids` and `stored_weights` of a graph.

    Without `weights`, the files that levels start from need not be there.
    """
    infer_sizes(graph, diagnostics)
    if weights:
        infer_weights(graph, diagnostics)
