"""N0201, N0405: starts that have no meaning for a kind, and identities between sizes that differ."""

from __future__ import annotations

from nestdsl.checks.clauses import WITHOUT_START
from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Level
from nestdsl.semantics.suggestions import listed
from nestdsl.vocabulary.signatures import LIBRARY
from nestdsl.vocabulary.starts import LEARNED


def check_own_starts(graph: NestGraph, diagnostics: Diagnostics) -> None:
    for level in graph.levels():
        if level.id in graph.unsure or level.owner or level.init.kind == LEARNED:
            continue
        if level.kind in WITHOUT_START:  # `clauses.py` says why
            continue
        starts = LIBRARY.kinds[level.kind].starts
        if level.init.kind not in starts:
            diagnostics.report(
                "N0405",
                f"`init {level.init.kind}` has no meaning for `{level.name}`: {_why(level)}",
                level.clause("init"),
                f"it may start as {listed((LEARNED, *starts))}" if starts else "leave it out",
            )
        elif level.init.kind == "identity":
            _check_identity(graph, level, diagnostics)


def _why(level: Level) -> str:
    if LIBRARY.kinds[level.kind].is_custom:
        return f"`{level.kind}` comes from Python, and its class makes its start"
    if level.init.kind == "orthogonal":
        return f"`{level.kind}` reads each feature by itself"
    what = "is not linear" if level.kind == "mlp" else "reads ids"
    return f"`{level.kind}` {what}, and so is never the identity"


def _check_identity(graph: NestGraph, level: Level, diagnostics: Diagnostics) -> None:
    sizes = graph.level_sizes.get(level.id)
    if sizes is not None and sizes[0] != sizes[1]:
        diagnostics.report(
            "N0201",
            f"`{level.name}` cannot start as the identity: it reads {sizes[0]} features and makes {sizes[1]}",
            level.clause("init"),
            "make its sizes equal, or choose another start, such as `init orthogonal`",
        )
