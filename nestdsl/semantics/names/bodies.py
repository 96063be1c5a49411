"""Declares the names in the body of a model or block, before anything in it has a value."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nestdsl.diagnostics import Diagnostics
from nestdsl.semantics.names.clauses import collect
from nestdsl.semantics.names.declared import Declared
from nestdsl.semantics.twice import report_said_twice, report_twice
from nestdsl.syntax import ast


def declare_body(
    statements: Sequence[ast.Statement], parameters: Collection[str], diagnostics: Diagnostics
) -> Declared:
    """Reads the statements of a body with these parameters; reports names that are taken."""
    declared = Declared()
    default: ast.Default | None = None
    for statement in statements:
        match statement:
            case ast.Flow(name, value):
                if _is_new(name, declared, parameters, diagnostics, value):
                    declared.flows[name.text] = statement
            case ast.Level(name):
                if name.text == "out":
                    _report_level_out(name, diagnostics)
                    declared.broken.add(name.text)
                elif _is_new(name, declared, parameters, diagnostics):
                    declared.levels[name.text] = statement
            case ast.Broken(None):
                declared.has_unnamed = True
            case ast.Broken(str() as name):
                declared.broken.add(name)
            case ast.Default(clauses, span):
                if default is None:
                    default = statement
                    declared.default = collect(clauses, diagnostics)
                else:
                    report_said_twice(diagnostics, "default", span, default.span, "put all clauses into one")
    if default is not None:
        _check_default(default, declared, statements, diagnostics)
    return declared


def _is_new(
    name: ast.Name,
    declared: Declared,
    parameters: Collection[str],
    diagnostics: Diagnostics,
    value: ast.Expression | None = None,
) -> bool:
    """Reports a name that is taken. `value` is that of a flow."""
    if name.text == "in":
        diagnostics.report("N0102", "`in` is already what the body reads", name.span, "give it another name")
        return False
    first = declared.place_of(name.text)
    if first is not None:
        report_twice(diagnostics, name, first, value)
        return False
    if name.text in parameters:
        diagnostics.report(
            "N0102",
            f"`{name.text}` is already a parameter of this body",
            name.span,
            "give one of them another name",
        )
        return False
    return True


def _report_level_out(name: ast.Name, diagnostics: Diagnostics) -> None:
    diagnostics.report(
        "N0104",
        "`out` is what the body gives: a flow, not a level",
        name.span,
        "give the level another name, and read it: `flow out = in -> name`",
    )


def _check_default(
    default: ast.Default,
    declared: Declared,
    statements: Sequence[ast.Statement],
    diagnostics: Diagnostics,
) -> None:
    """N0405 for a `default` that nobody hears, or that says what each level must say itself."""
    learn = declared.default.pop("learn", None)
    if learn is not None:
        diagnostics.report(
            "N0405",
            "`learn` has no meaning in `default`, which speaks of the levels that say `learn`",
            learn.span,
            "say it at each level",
        )
    clauses = [
        clause for statement in statements if isinstance(statement, ast.Level) for clause in statement.clauses
    ]
    is_unread = any(isinstance(one, ast.Broken) for one in (*statements, *clauses))
    if not is_unread and not any(isinstance(clause, ast.Learn) for clause in clauses):
        diagnostics.report(
            "N0405",
            "`default` speaks of the levels that say `learn`, and no level of this body does",
            default.span,
            "say its clauses at the levels that they are meant for, or remove it",
        )
