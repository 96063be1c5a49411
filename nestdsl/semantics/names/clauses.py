"""The clauses of a level by name, before anything in them is evaluated."""

from __future__ import annotations

from collections.abc import Iterable

from nestdsl.diagnostics import Diagnostics
from nestdsl.semantics.twice import report_said_twice
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.clauses import (
    CHUNK,
    EVERY,
    FROZEN,
    GRADIENT,
    INIT,
    LEARN,
    OBJECTIVE,
    OPTIMIZER,
    READ,
    RESET,
    Clause,
)
from nestdsl.vocabulary.starts import LEARNED

Clauses = dict[str, ast.Clause]

_READ_AS: dict[type[ast.Clause], Clause] = {
    ast.Learn: LEARN,
    ast.Objective: OBJECTIVE,
    ast.Every: EVERY,
    ast.OptimizerClause: OPTIMIZER,
    ast.Init: INIT,
    ast.Reset: RESET,
    ast.Gradient: GRADIENT,
    ast.Read: READ,
    ast.Frozen: FROZEN,
}


def collect(clauses: Iterable[ast.Clause], diagnostics: Diagnostics) -> Clauses:
    """The clauses by name; one that is given twice is N0102. Those that could not be read are `broken`."""
    found: Clauses = {}
    for clause in clauses:
        if isinstance(clause, ast.Broken):
            found["broken"] = clause
            continue
        name = _READ_AS[type(clause)].name
        if name in found:
            report_said_twice(diagnostics, name, clause.span, found[name].span, "keep one of them")
        else:
            found[name] = clause
    return found


def chunk_span(every: ast.Every) -> Span:
    """Where a period says its chunk, with the `,` before it."""
    assert every.chunk is not None
    source, end = every.span.source, (every.unit or every.count).span.end
    return Span(source, source.text.index(",", end), every.chunk.span.end)


def is_surprise(learn: ast.Clause) -> bool:
    """True for `learn surprise`."""
    match learn:
        case ast.Learn(ast.Name("surprise"), None):
            return True
    return False


def start_word(call: ast.Call) -> str:
    """The word of `init`, or that in the brackets of `learned(...)`."""
    inner = start_in_brackets(call) if call.function.text == LEARNED else None
    return (inner or call).function.text


def start_in_brackets(call: ast.Call) -> ast.Call | None:
    match call.arguments:
        case (ast.Argument(None, ast.Name() as name, _),):
            return ast.Call(name, (), name.span)
        case (ast.Argument(None, ast.Call() as inner, _),):
            return inner
    return None


def places(clauses: Clauses) -> tuple[tuple[str, Span], ...]:
    """Each clause with its place; a chunk counts as a clause of its own."""
    found: list[tuple[str, Span]] = []
    for name, clause in clauses.items():
        if isinstance(clause, ast.Broken):
            continue
        found.append((name, clause.span))
        if isinstance(clause, ast.Every) and clause.chunk is not None:
            found.append((CHUNK.name, clause.chunk.span))
    return tuple(found)
