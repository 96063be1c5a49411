"""N0201, N0301, N0405: levels that start from another level's state, and those that are reset with it."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics, Note
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Learning, Level, Read
from nestdsl.graph.self_reference import anchored_reads
from nestdsl.vocabulary.clauses import EVERY, INIT, RESET, Clause
from nestdsl.vocabulary.signatures import LIBRARY, Shapes
from nestdsl.vocabulary.timing import Reset


def check_starts(graph: NestGraph, diagnostics: Diagnostics) -> None:
    _check_chunks(graph, diagnostics)
    circular = _own_ancestors(graph)
    for level in graph.levels():
        if level.id in graph.unsure:
            continue
        if level.reset is Reset.PARENT and not level.init.level:
            diagnostics.report(
                "N0405",
                f"`reset parent` has no meaning for `{level.name}`: it starts from no other level",
                level.clause(RESET),
                "say from which: `init from slower_level`, or leave `reset` out",
            )
        parent = graph.parent(level)
        if parent is not None and parent.id not in graph.unsure:
            _check(graph, level, parent, level.id in circular, diagnostics)


def _check(
    graph: NestGraph, level: Level, parent: Level, is_circular: bool, diagnostics: Diagnostics
) -> None:
    def refuse(
        clause: Clause, why: str, hint: str, code: str = "N0405", notes: tuple[Note, ...] = ()
    ) -> None:
        diagnostics.report(code, why, level.clause(clause), hint, notes)

    if level.learning is Learning.ASSOCIATION:
        refuse(
            INIT,
            f"`{level.name}` cannot start from `{parent.name}`: a memory that learns `key -> value` starts "
            "with its sequence, where no other level of the sequence has learned anything yet",
            "say `init learned`; only a level that learns from surprise starts again, with `reset parent`, "
            "when a slower one moves",
        )
    elif not level.learns_surprise_in_context:
        refuse(
            INIT,
            f"`{level.name}` cannot start from `{parent.name}`: only a level that learns from surprise in "
            "context does",
            "say `every N tokens` without `learn key -> value`, or leave `init` out",
        )
    elif parent.learning is not Learning.SURPRISE or _shapes(graph, parent) == ():
        refuse(
            INIT,
            f"`{level.name}` cannot start from `{parent.name}`: it has no weights that learn from surprise",
            "name a level that learns from surprise",
        )
    elif not graph.reads_of(parent.id) and not graph.lacks_flows:
        refuse(
            INIT,
            f"`{level.name}` starts from `{parent.name}`, which nothing reads, so that it learns nothing",
            f"read `{parent.name}` on the way to `out`",
        )
    elif is_circular:
        refuse(
            INIT,
            f"`{level.name}` starts from `{parent.name}`, which itself starts from `{level.name}`",
            "let one of these levels have a start of its own: `init learned`",
            "N0301",
        )
    elif None not in (found := (_shapes(graph, level), _shapes(graph, parent))) and found[0] != found[1]:
        refuse(
            INIT,
            f"`{level.name}` has the weights {_shown(found[0])}, and `{parent.name}` has {_shown(found[1])}",
            "make their kinds and sizes equal",
            "N0201",
            (Note(f"`{parent.name}` is declared here", parent.span),),
        )
    elif level.reset is Reset.PARENT and parent.in_context and parent.period <= level.period:
        refuse(
            RESET,
            f"`{level.name}` is reset when `{parent.name}` updates, once in {parent.period} tokens: it "
            "would never keep what it learns",
            f"give `{parent.name}` a longer period than {level.period} tokens",
            notes=(Note(f"`{parent.name}` is no slower", parent.clause(EVERY)),),
        )


def _check_chunks(graph: NestGraph, diagnostics: Diagnostics) -> None:
    """Memories of a body that runs chunk by chunk begin their chunks at once, so they go on at once."""
    anchored = anchored_reads(graph)
    scopes = {graph[id].scope for id in anchored if isinstance(graph[id], Read)}  # type: ignore[union-attr]
    first: dict[str, Level] = {}
    for level in graph.levels():
        is_memory = level.learning is Learning.ASSOCIATION and not LIBRARY.kinds[level.kind].is_nonparametric
        if not is_memory or level.scope not in scopes or level.owner:
            continue
        other = first.setdefault(level.scope, level)
        if other.reset != level.reset:
            one, rest = (level, other) if level.has(RESET) else (other, level)
            diagnostics.report(
                "N0405",
                f"`reset {one.reset}` has no meaning for `{one.name}` alone: memories of this body read "
                "themselves, so that all of them run through the same chunks",
                one.clause(RESET),
                f"say the same at `{rest.name}` and all other memories of the body, or in `default`",
            )


def _own_ancestors(graph: NestGraph) -> set[str]:
    """The levels that start from one that starts, in the end, from them."""
    found: set[str] = set()
    known: set[str] = set()
    for level in graph.levels():
        way: dict[str, None] = {}
        one: Level | None = level
        while one is not None and one.id not in known and one.id not in way:
            way[one.id] = None
            one = graph.parent(one)
        if one is not None and one.id in way:
            ids = list(way)
            found.update(ids[ids.index(one.id) :])
        known.update(way)
    return found


def _shapes(graph: NestGraph, level: Level) -> Shapes | None:
    """The weights of a level; None where its sizes are unknown, because of a mistake elsewhere."""
    sizes = graph.level_sizes.get(level.id)
    return None if sizes is None else LIBRARY.kinds[level.kind].parameters(dict(level.arguments), *sizes)


def _shown(shapes: Shapes | None) -> str:
    return ", ".join(f"{name} {' × '.join(map(str, shape))}" for name, shape in shapes or ())
