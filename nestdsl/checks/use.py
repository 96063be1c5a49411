"""N0304, N0305: what a program declares and nothing uses, changes or trains."""

from __future__ import annotations

from bisect import bisect_right, insort

import networkx

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.gradients import reached_levels
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import FROZEN_BLOCK, Flow, Input, Learning, Level
from nestdsl.source import Source, Span
from nestdsl.vocabulary.clauses import FROZEN, INIT
from nestdsl.vocabulary.signatures import LIBRARY


def check_use(graph: NestGraph, diagnostics: Diagnostics) -> None:
    used = {"out", *networkx.ancestors(graph.networkx, "out")} if "out" in graph else set()
    unused = _Spans()
    for node in [*graph.nodes(Input), *graph.nodes(Flow), *graph.levels()]:
        if node.id in used or _is_part(graph, node, unused):
            continue
        match node:
            case Input():
                how = "read it: `flow out = in -> ...`"
                _report(diagnostics, "`out` does not depend on the input", node, how)
            case Level(owner=""):
                _report(diagnostics, f"nothing reads the level `{_written_name(graph, node)}`", node)
            case Flow(name="in") if f"{node.scope}.out" in used:
                block = graph.scopes[node.scope].block
                _report(
                    diagnostics,
                    f"`{block}` makes nothing of what is piped into it",
                    node,
                    "read `in` in the block, or add its result instead of piping",
                )
            case Flow() if node.name not in ("in", "out") and not node.name.endswith((".in", ".out")):
                _report(diagnostics, f"nothing uses the flow `{node.name}`", node)
                unused.add(node.span)
    reached = reached_levels(graph)
    for level in graph.levels():
        _check_start(graph, level, diagnostics)
        if level.id in used and level.id not in reached:
            _check_reached(graph, level, diagnostics)


class _Spans:
    """Places of flows, none of which is inside another."""

    def __init__(self) -> None:
        self._found: dict[Source, list[tuple[int, int]]] = {}

    def add(self, span: Span) -> None:
        insort(self._found.setdefault(span.source, []), (span.start, span.end))

    def hold(self, span: Span) -> bool:
        """Whether a place is within one of these."""
        found = self._found.get(span.source, [])
        place = bisect_right(found, (span.start, len(span.source.text)))
        return place > 0 and span.end <= found[place - 1][1]


def _is_part(graph: NestGraph, node: Input | Flow | Level, unused: _Spans) -> bool:
    """True for what an unused flow makes in its place: a level, or a block and all that is in it."""
    spans = [node.span] if isinstance(node, Level) else []
    scope: str | None = node.scope
    while scope:
        spans.append(graph.scopes[scope].span)
        scope = graph.scopes[scope].parent
    return any(unused.hold(span) for span in spans)


def _report(diagnostics: Diagnostics, message: str, node: Input | Flow | Level, hint: str = "") -> None:
    diagnostics.report("N0304", message, node.span, hint or "use it on the way to `out`, or remove it")


def _written_name(graph: NestGraph, level: Level) -> str:
    """The name in the program: attention makes projections, which are levels that nobody wrote."""
    whole, _, _ = level.id.rpartition(".")
    if whole in graph and isinstance(attention := graph[whole], Level):
        return attention.name
    return level.name


def _check_start(graph: NestGraph, level: Level, diagnostics: Diagnostics) -> None:
    kind = LIBRARY.kinds.get(level.kind)
    is_static = level.frozen and level.learning is not Learning.ASSOCIATION
    is_drawn = kind is not None and (kind.draws_start or kind.is_custom)
    if not is_drawn or not is_static or level.has(INIT):
        return
    block = dict(level.written).get(FROZEN_BLOCK)
    if block is not None:
        diagnostics.report(
            "N0305",
            "this block is frozen at its random start: nothing ever changes or trains what is in it",
            block,
            "remove `frozen`; if random features are what you want, say `init normal(0.02)` at its levels",
        )
        return
    diagnostics.report(
        "N0305",
        f"`{_written_name(graph, level)}` is frozen at its random start: nothing ever changes or trains it",
        level.clause(FROZEN),
        "remove `frozen`; if random features are what you want, say so with `init normal(0.02)`",
    )


def _check_reached(graph: NestGraph, level: Level, diagnostics: Diagnostics) -> None:
    if level.owner or level.frozen or level.learning is not Learning.SURPRISE:
        return
    diagnostics.report(
        "N0305",
        f"no gradient reaches `{_written_name(graph, level)}`, so nothing ever trains it",
        level.span,
        "`stop` and `gradient stop` let no gradient through; remove them, or say `frozen` here",
    )
