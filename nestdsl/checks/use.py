"""N0304, N0305: what a program declares and nothing uses, changes or trains."""

from __future__ import annotations

import networkx

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Flow, Learning, Level
from nestdsl.library.signatures import LIBRARY


def check_use(graph: NestGraph, diagnostics: Diagnostics) -> None:
    used = {"out", *networkx.ancestors(graph.networkx, "out")} if "out" in graph else set()
    for node in [*graph.nodes(Flow), *graph.levels()]:
        if node.id in used or node.id == "in":
            continue
        if isinstance(node, Level):
            if not node.owner:
                _report(diagnostics, f"nothing reads the level `{node.name}`", node)
        elif not node.name.endswith((".in", ".out")) and node.name not in ("in", "out"):
            _report(diagnostics, f"nothing uses the flow `{node.name}`", node)
    for level in graph.levels():
        _check_trained(level, diagnostics)


def _report(diagnostics: Diagnostics, message: str, node: Flow | Level) -> None:
    diagnostics.report("N0304", message, node.span, "use it on the way to `out`, or remove it")


def _check_trained(level: Level, diagnostics: Diagnostics) -> None:
    kind = LIBRARY.kinds.get(level.kind)
    is_static = level.frozen and level.learning is not Learning.ASSOCIATION
    if kind is None or not is_static or "init" in dict(level.written) or kind.is_nonparametric:
        return
    diagnostics.report(
        "N0305",
        f"`{level.name}` is frozen at its random start: nothing ever changes or trains it",
        level.clause("frozen"),
        "remove `frozen`; if random features are what you want, say so with `init normal(0.02)`",
    )
