"""N0405: clauses that have no meaning for the level that says them; N0407: those not yet runnable."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Learning, Level
from nestdsl.semantics.suggestions import listed
from nestdsl.vocabulary.clauses import CHUNK, EVERY, FROZEN, GRADIENT, INIT, LEARN, OPTIMIZER, Clause
from nestdsl.vocabulary.kinds.linear import LINEAR
from nestdsl.vocabulary.signatures import LIBRARY
from nestdsl.vocabulary.starts import LEARNED
from nestdsl.vocabulary.timing import STOP, ReadTime, Truncated, Unit


def check_clauses(graph: NestGraph, diagnostics: Diagnostics) -> None:
    has_segments = any(
        level.learns_surprise_in_context or level.id in graph.unsure for level in graph.levels()
    )
    for level in graph.levels():
        if level.id in graph.unsure:
            continue
        if (
            isinstance(level.gradient, Truncated)
            and not level.learns_surprise_in_context
            and not has_segments
        ):
            _report(
                level,
                GRADIENT,
                "a graph is cut at the ends of segments, and no level learns from surprise in context",
                "leave it out",
                diagnostics,
            )
        if level.owner:
            continue
        if LIBRARY.kinds[level.kind].is_nonparametric:
            _check_attention(level, diagnostics)
        elif level.learning is Learning.ASSOCIATION:
            _check_memory(level, diagnostics)
        else:
            _check_surprise(level, diagnostics)
        fixed_start = LIBRARY.kinds[level.kind].fixed_start
        if level.has(INIT) and fixed_start and not level.init.file:
            _report(level, INIT, f"`{level.kind}` always starts with {fixed_start}", "", diagnostics)
        if level.frozen and level.learning is not Learning.ASSOCIATION:
            for clause in (EVERY, OPTIMIZER):
                if level.has(clause) and level.has(FROZEN):
                    _report(
                        level, clause, "a frozen level never updates", "leave one of them out", diagnostics
                    )


def _check_attention(level: Level, diagnostics: Diagnostics) -> None:
    for clause in level.clauses:
        if clause is GRADIENT and level.gradient != STOP:
            continue
        if clause is FROZEN and LIBRARY.kinds[level.kind].has_parameters(dict(level.arguments)):
            continue
        if clause is INIT and not level.has(LEARN):
            words = [word for word in LINEAR.starts if word != "identity"]
            why = "it speaks of the projections of attention, which is never the identity"
            _report(
                level,
                clause,
                why,
                f"they may start as {listed((LEARNED, *words))}, or from a file",
                diagnostics,
            )
        elif clause is not LEARN:
            _report(
                level,
                clause,
                "attention keeps no state of its own: it is recomputed at every token",
                "leave it out",
                diagnostics,
            )


def _check_memory(level: Level, diagnostics: Diagnostics) -> None:
    if level.unit is Unit.STEP and not level.frozen and not level.has(EVERY):
        diagnostics.report(
            "N0407",
            f"`{level.name}` does not say how often it moves: a memory that learns `key -> value` moves "
            "while a sequence is read, and this compiler has none that moves with `train`",
            level.span,
            "add `every 1 token` to its clauses",
        )
    elif level.unit is Unit.STEP or level.frozen:
        diagnostics.report(
            "N0407",
            f"`{level.name}` learns `key -> value` but not in context, which this compiler cannot run yet",
            level.clause(FROZEN if level.frozen else EVERY),
            _in_context_hint(level),
        )
    if level.has(CHUNK) and level.period > 1 and level.unit is Unit.TOKEN and level.read is ReadTime.ANCHOR:
        _report(level, CHUNK, "a period of several tokens is its own chunk", "leave it out", diagnostics)


def _in_context_hint(level: Level) -> str:
    says_tokens = level.unit is Unit.TOKEN and level.has(EVERY)
    if not level.frozen:
        return "write `every 1 token`"
    return "leave `frozen` out" if says_tokens else "leave `frozen` out, and write `every 1 token`"


def _check_surprise(level: Level, diagnostics: Diagnostics) -> None:
    in_context = level.learns_surprise_in_context
    for clause in level.clauses:
        if clause.of_pairs if in_context else clause.not_across:
            _report(
                level,
                clause,
                clause.not_across,
                "leave it out, or give the level an association: `learn key -> value` and `every 1 token`",
                diagnostics,
            )


def _report(level: Level, clause: Clause, why: str, hint: str, diagnostics: Diagnostics) -> None:
    diagnostics.report(
        "N0405",
        f"`{clause.name}` has no meaning for `{level.name}`: {why}",
        level.clause(clause),
        hint or "leave it out",
    )
