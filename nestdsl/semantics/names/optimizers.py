"""Declares the names in the body of an optimizer, before anything in it is computed."""

from __future__ import annotations

from collections.abc import Collection

from nestdsl.diagnostics import Diagnostics
from nestdsl.semantics.names.declared import Declared
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.semantics.twice import report_said_twice, report_twice
from nestdsl.syntax import ast
from nestdsl.vocabulary.shapes import CONSTANT, WEIGHT

IN_SCOPE = {"grad": WEIGHT, "weight": WEIGHT, "step_count": CONSTANT}
"""What every optimizer sees, with its shape."""
_MEANT = {
    "grad": ("g", "grads", "gradient", "gradients", "dw", "d_p"),
    "weight": ("w", "p", "theta", "param", "params", "parameter", "parameters", "weights"),
    "step_count": ("t", "i", "n", "step", "steps", "iteration"),
}
"""What other programs call these."""


def declare_optimizer(
    declaration: ast.Optimizer, parameters: Collection[str], diagnostics: Diagnostics
) -> Declared:
    """Reads the statements of a body; reports names that are taken, and what has no place in it."""
    declared = Declared()
    for parameter in declaration.parameters:
        if parameter.name.text in IN_SCOPE:
            _report_taken(diagnostics, parameter.name, "in scope in every optimizer")
    for statement in declaration.body:
        match statement:
            case ast.Flow(name) | ast.Level(name):
                if name.text in IN_SCOPE:
                    _report_taken(diagnostics, name, "in scope in every optimizer")
                elif name.text in parameters:
                    _report_taken(diagnostics, name, "a parameter")
                elif (first := declared.place_of(name.text)) is not None:
                    value = statement.value if isinstance(statement, ast.Flow) else None
                    report_twice(diagnostics, name, first, value)
                elif isinstance(statement, ast.Flow):
                    declared.flows[name.text] = statement
                else:
                    declared.levels[name.text] = statement
            case ast.Only():
                _declare_only(declared, statement, diagnostics)
            case ast.Broken(None):
                declared.has_unnamed = True
            case ast.Broken(str() as name):
                declared.broken.add(name)
            case _:
                word = statement.span.text.split(maxsplit=1)[0].rstrip("{")
                diagnostics.report(
                    "N0405",
                    f"`{word}` has no meaning in an optimizer",
                    statement.span,
                    "an optimizer has `level`s, `flow`s and `only matrices else`",
                )
    return declared


def meant(name: str, known: Collection[str], otherwise: str) -> str:
    """A hint for a name that an optimizer does not know."""
    called = next((one for one, others in _MEANT.items() if name in others), None)
    return f"did you mean `{called}`?" if called else did_you_mean(name, known, otherwise)


def scope_of(parameters: Collection[str]) -> str:
    """What a flow of an optimizer can be made of, in words."""
    return f"in scope are {listed([*IN_SCOPE, *parameters])}, and what the body declares"


def _report_taken(diagnostics: Diagnostics, name: ast.Name, thing: str) -> None:
    diagnostics.report("N0102", f"`{name.text}` is already {thing}", name.span, "give it another name")


def _declare_only(declared: Declared, only: ast.Only, diagnostics: Diagnostics) -> None:
    if declared.only is not None:
        report_said_twice(diagnostics, "only", only.span, declared.only.span, "keep one of them")
    elif only.what.text != "matrices":
        diagnostics.report(
            "N0101",
            f"`only` cannot be `{only.what.text}`",
            only.what.span,
            did_you_mean(only.what.text, ("matrices",), "write `only matrices else adamw(lr = ...)`"),
        )
    else:
        declared.only = only
