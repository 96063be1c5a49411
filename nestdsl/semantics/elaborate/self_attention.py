"""Attention that makes its own query, key and value: its projections are levels."""

from __future__ import annotations

from dataclasses import replace

from nestdsl.graph.nodes import KIND_CALL, EdgeType, Flow, Learning, Level, Read
from nestdsl.semantics.elaborate.scope import BodyScope, WaitingLevel
from nestdsl.semantics.names.clauses import Clauses, start_word
from nestdsl.semantics.names.meanings import Stage
from nestdsl.syntax import ast
from nestdsl.vocabulary.kinds.linear import LINEAR
from nestdsl.vocabulary.signatures import LIBRARY, Value
from nestdsl.vocabulary.starts import OF_THE_LAST
from nestdsl.vocabulary.timing import Unit

_PROJECTIONS = ("query", "key", "value", "output")


def _freezes_pairs(body: BodyScope, level: Level, own: Clauses) -> bool:
    """Whether the persistent pairs, its only weights beside the projections, are frozen too."""
    is_said = "frozen" in own or body.inherited.frozen is not None
    return is_said and LIBRARY.kinds[level.kind].has_parameters(dict(level.arguments))


def self_attention(body: BodyScope, level: Level, own: Clauses) -> Stage:
    """Attention that nobody gives a key and a value: it reads all from one flow.

    Its projections are levels of their own, which learn from surprise.
    """
    graph = body.shared.graph
    if dict(level.arguments)["pairs"] != 1:
        body.diagnostics.report(
            "N0405",
            f"`pairs` has no meaning for `{level.name}`: it makes the one key and value of a token itself",
            (level.place(KIND_CALL) or level.span),
            "leave it out, or give it several: `learn concat(k, other_k) -> concat(v, other_v)`",
        )
        level = replace(level, arguments=tuple((dict(level.arguments) | {"pairs": 1}).items()))
    entry = graph.add(Flow(f"{level.id}.in", body.scope.id, f"{level.name}.in", level.span))
    init = own.get("init")
    starts = _that_start_so(init) if isinstance(init, ast.Init) else ()
    shared = ("every", "optimizer", "frozen", *(("init",) if starts else ()))
    passed_on = LIBRARY.kinds[level.kind].of_projections
    given = tuple(pair for pair in level.arguments if pair[0] in passed_on)
    arguments: tuple[tuple[str, Value], ...] = (("out", None), *given)
    outputs: dict[str, str] = {}

    def project(name: str, source: str) -> str:
        body.shared.count_level(level.span)
        passed = {key: clause for key, clause in own.items() if key in shared}
        if name not in starts:
            passed.pop("init", None)
        projection = replace(
            level,
            id=f"{level.id}.{name}",
            declared=f"{level.declared}.{name}",
            name=f"{level.name}.{name}",
            kind=LINEAR.name,
            arguments=arguments,
            written=tuple((key, span) for key, span in level.written if key in passed),
        )
        graph.reserve(projection.id)
        body.waiting.append(WaitingLevel(body, projection, passed, body.index, part=name))
        return graph.add(Read(f"{projection.id}#", body.scope.id, projection.id, source, level.span))

    for name in _PROJECTIONS[:3]:
        outputs[name] = project(name, entry)
    written = tuple((name, span) for name, span in level.written if name not in (*shared, "learn"))
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


def _that_start_so(init: ast.Init) -> tuple[str, ...]:
    """Which projections start as `init` says; none where it has no meaning, which `checks` reports.

    As of other kinds of several layers, `zeros` and `scaled` speak of the last: of what attention gives.
    It is never the identity: what it gives are means of values.
    """
    match init:
        case ast.Init(None, ast.String()):
            return _PROJECTIONS
        case ast.Init(ast.Call() as call):
            word = start_word(call)
            if word == "identity":
                return ()
            return _PROJECTIONS[3:] if word in OF_THE_LAST else _PROJECTIONS
    return ()
