"""Completes a model: the clauses of its levels, `train`, and what trains what."""

from __future__ import annotations

from nestdsl.graph.nest import NestGraph
from nestdsl.semantics.complete.levels import complete_level
from nestdsl.semantics.complete.train import add_train
from nestdsl.semantics.complete.training_edges import connect_training
from nestdsl.semantics.elaborate.models import Elaborated


def complete_model(elaborated: Elaborated) -> NestGraph:
    """The graph of a model, or of a block that is only tried, with all that its clauses say."""
    while elaborated.waiting:
        complete_level(elaborated.waiting.popleft())
    if elaborated.model is not None:
        elaborated.body.index = None
        add_train(elaborated.model, elaborated.body, elaborated.takes)
        connect_training(elaborated.body.shared)
    return elaborated.graph
