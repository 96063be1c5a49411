"""N0201, N0405: starts that have no meaning for a kind, and identities between sizes that differ."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Level
from nestdsl.semantics.suggestions import listed
from nestdsl.vocabulary.clauses import INIT
from nestdsl.vocabulary.signatures import LIBRARY, Kind
from nestdsl.vocabulary.starts import LEARNED


def check_own_starts(graph: NestGraph, diagnostics: Diagnostics) -> None:
    for level in graph.levels():
        if level.id in graph.unsure or level.owner or level.init.kind == LEARNED:
            continue
        kind = LIBRARY.kinds[level.kind]
        if not (kind.draws_start or kind.is_custom):  # `clauses.py` says why
            continue
        if level.init.kind not in kind.starts:
            diagnostics.report(
                "N0405",
                f"`init {level.init.kind}` has no meaning for `{level.name}`: {_why(kind, level.init.kind)}",
                level.clause(INIT),
                f"it may start as {listed((LEARNED, *kind.starts))}" if kind.starts else "leave it out",
            )
        elif level.init.kind == "identity":
            _check_identity(graph, level, diagnostics)


def _why(kind: Kind, word: str) -> str:
    why = "comes from Python, and its class makes its start" if kind.is_custom else kind.lacks_start[word]
    return f"`{kind.name}` {why}"


def _check_identity(graph: NestGraph, level: Level, diagnostics: Diagnostics) -> None:
    sizes = graph.level_sizes.get(level.id)
    if sizes is not None and sizes[0] != sizes[1]:
        diagnostics.report(
            "N0201",
            f"`{level.name}` cannot start as the identity: it reads {sizes[0]} features and makes {sizes[1]}",
            level.clause(INIT),
            "make its sizes equal, or choose another start, such as `init orthogonal`",
        )
