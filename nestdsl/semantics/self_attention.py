"""Attention that makes its own query, key and value: its projections are levels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nestdsl.graph.nodes import KIND_CALL, EdgeType, Flow, Learning, Level, Read, Unit
from nestdsl.library.signatures import LIBRARY, Value
from nestdsl.semantics.clauses import Clauses
from nestdsl.semantics.finish import Pending, finish
from nestdsl.semantics.scope import Stage
from nestdsl.syntax import ast

if TYPE_CHECKING:
    from nestdsl.semantics.bodies import Body


def _freezes_pairs(body: Body, level: Level, own: Clauses) -> bool:
    """Whether the persistent pairs, its only weights beside the projections, are frozen too."""
    is_said = "frozen" in own or body.inherited.frozen is not None
    return is_said and LIBRARY.kinds[level.kind].has_parameters(dict(level.arguments))


def self_attention(body: Body, level: Level, own: Clauses) -> Stage:
    """Attention that nobody gives a key and a value: it reads all from one flow.

    Its projections are levels of their own, which learn from surprise.
    """
    graph = body.shared.graph
    if dict(level.arguments)["pairs"] != 1:
        body.diagnostics.report(
            "N0405",
            f"`pairs` has no meaning for `{level.name}`: it makes the one key and value of a token itself",
            level.clause(KIND_CALL),
            "leave it out, or give it several: `learn concat(k, other_k) -> concat(v, other_v)`",
        )
        level = replace(level, arguments=tuple((dict(level.arguments) | {"pairs": 1}).items()))
    entry = graph.add(Flow(f"{level.id}.in", body.scope.id, f"{level.name}.in", level.span))
    passed = ("every", "optimizer", "frozen", *(["init"] if _is_from_file(own) else []))
    shared = tuple((name, span) for name, span in level.written if name in passed)
    arguments: tuple[tuple[str, Value], ...] = (("out", None), ("bias", dict(level.arguments)["bias"]))
    outputs: dict[str, str] = {}

    def project(name: str, source: str) -> str:
        body.shared.count_level(level.span)
        projection = replace(
            level,
            id=f"{level.id}.{name}",
            declared=f"{level.declared}.{name}",
            name=f"{level.name}.{name}",
            kind="linear",
            arguments=arguments,
            written=shared,
        )
        graph.reserve(projection.id)
        clauses = {key: own[key] for key in own if key in dict(shared)}
        pending = Pending(projection, clauses, {}, body.index, part=name)
        finish(body, pending)
        return graph.add(Read(f"{projection.id}#", body.scope.id, projection.id, source, level.span))

    for name in ("query", "key", "value"):
        outputs[name] = project(name, entry)
    written = tuple((name, span) for name, span in level.written if name not in (*dict(shared), "learn"))
    gradient = own.get("gradient")
    kept = body.clause_reader.gradient(gradient) if isinstance(gradient, ast.Gradient) else None
    graph.add(
        replace(
            level,
            unit=Unit.TOKEN,
            period=1,
            learning=Learning.ASSOCIATION,
            written=written,
            objective=None,
            frozen=_freezes_pairs(body, level, own),
            gradient=kept or body.inherited.gradient or level.gradient,
        )
    )
    graph.connect(outputs["key"], level.id, EdgeType.KEY)
    graph.connect(outputs["value"], level.id, EdgeType.VALUE)
    solved = graph.add(Read(f"{level.id}#", body.scope.id, level.id, outputs["query"], level.span))
    exit = graph.add(Flow(f"{level.id}.out", body.scope.id, f"{level.name}.out", level.span))
    body.shared.feed(exit, project("output", solved))
    return Stage(entry=entry, exit=exit)


def _is_from_file(own: Clauses) -> bool:
    """Whether the projections have their first values from a file."""
    match own.get("init"):
        case ast.Init(None, ast.String()):
            return True
    return False
