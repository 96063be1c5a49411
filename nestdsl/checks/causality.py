"""N0302: no prediction depends on a later token. What cannot be shown causal is refused."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Level, Operation
from nestdsl.vocabulary.signatures import LIBRARY

_HINT = "a model predicts each token from those before it, so nothing in it may read later ones"


def check_causality(graph: NestGraph, diagnostics: Diagnostics) -> None:
    for level in graph.levels():
        kind = LIBRARY.kinds.get(level.kind)
        if kind is not None and not kind.is_causal(dict(level.arguments)):
            diagnostics.report("N0302", f"`{level.name}` reads later tokens", level.span, _hint(level))
    for operation in graph.nodes(Operation):
        function = LIBRARY.functions.get(operation.function)
        if function is not None and not function.is_causal:
            diagnostics.report("N0302", f"`{operation.function}` reads later tokens", operation.span, _HINT)


def _hint(level: Level) -> str:
    return f"leave out `causal = false`: {_HINT}" if "causal" in dict(level.arguments) else _HINT
