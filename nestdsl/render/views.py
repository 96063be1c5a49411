"""The pictures that can be drawn of a graph, by the name that `--view` takes."""

from __future__ import annotations

from collections.abc import Callable

import graphviz

from nestdsl.graph.nest import NestGraph
from nestdsl.render.flow import flow
from nestdsl.render.nesting import nesting

VIEWS: dict[str, Callable[[NestGraph, bool], graphviz.Digraph]] = {"nesting": nesting, "flow": flow}
"""Each draws a checked graph, and with True the levels of its optimizers too."""
