"""N0302: no prediction depends on a later token. What cannot be shown causal is refused."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Level, Operation
from nestdsl.vocabulary.signatures import LIBRARY, Kind

_HINT = "a model predicts each token from those before it, so nothing in it may read later ones"


def check_causality(graph: NestGraph, diagnostics: Diagnostics) -> None:
    for level in graph.levels():
        kind = LIBRARY.kinds.get(level.kind)
        if kind is not None and not kind.is_causal(dict(level.arguments)):
            diagnostics.report("N0302", f"`{level.name}` reads later tokens", level.span, _hint(kind, level))
    for operation in graph.nodes(Operation):
        function = LIBRARY.functions.get(operation.function)
        if function is not None and not function.is_causal:
            hint = _of_python(function.name) if function.is_custom else _HINT
            diagnostics.report("N0302", f"`{operation.function}` reads later tokens", operation.span, hint)


def _hint(kind: Kind, level: Level) -> str:
    if kind.is_custom:
        return _of_python(kind.name)
    return f"leave out `causal = false`: {_HINT}" if "causal" in dict(level.arguments) else _HINT


def _of_python(name: str) -> str:
    return f"its Python declares `{name}` with `causal=False`: {_HINT}"
