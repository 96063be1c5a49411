"""What the body of an optimizer declares, by name, before anything in it is computed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from nestdsl.diagnostics import Diagnostics, Note
from nestdsl.graph.optimizer import CONSTANT, NUMBER, WEIGHT, Operand, OptimizerProgram
from nestdsl.limits import MAX_LEVELS
from nestdsl.semantics.modules import report_twice
from nestdsl.semantics.names import did_you_mean, listed, nearest
from nestdsl.semantics.values import Constant, Unknown
from nestdsl.source import Span
from nestdsl.syntax import ast

IN_SCOPE = {"grad": WEIGHT, "weight": WEIGHT, "step_count": CONSTANT}
"""What every optimizer sees, with its shape."""
MEMORIES = {
    "ema": ("decay",),
    "sum_of": ("decay",),
    "matrix": ("step", "retain"),
    "associative": ("step", "retain"),
}
"""The memories of gradients, and what each takes: numbers, parameters or flows of numbers."""
_MEANT = {
    "grad": ("g", "grads", "gradient", "gradients", "dw", "d_p"),
    "weight": ("w", "p", "theta", "param", "params", "parameter", "parameters", "weights"),
    "step_count": ("t", "i", "n", "step", "steps", "iteration"),
}
"""What other programs call these."""


@dataclass(frozen=True, slots=True)
class Otherwise:
    """The optimizer of all weights that are no matrices, with its arguments as flows of the outer one."""

    program: OptimizerProgram
    arguments: tuple[tuple[str, Operand], ...]


@dataclass(slots=True)
class Declared:
    """Flows and levels by name; `only` where the body says it, `broken` names of statements not read."""

    flows: dict[str, ast.Flow] = field(default_factory=dict)
    levels: dict[str, ast.Level] = field(default_factory=dict)
    only: ast.Only | None = None
    broken: set[str] = field(default_factory=set)


def declare(declaration: ast.Optimizer, parameters: Collection[str], diagnostics: Diagnostics) -> Declared:
    """Reads the statements of a body; reports names that are taken, and what has no place in it."""
    declared = Declared()
    spans: dict[str, Span] = {}
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
                elif name.text in spans:
                    value = statement.value if isinstance(statement, ast.Flow) else None
                    report_twice(diagnostics, name, spans[name.text], value)
                else:
                    spans[name.text] = name.span
                    if isinstance(statement, ast.Flow):
                        declared.flows[name.text] = statement
                    else:
                        declared.levels[name.text] = statement
            case ast.Only():
                _declare_only(declared, statement, diagnostics)
            case ast.Broken(name):
                declared.broken.add(name or "")
            case _:
                word = statement.span.text.split(maxsplit=1)[0].rstrip("{")
                diagnostics.report(
                    "N0405",
                    f"`{word}` has no meaning in an optimizer",
                    statement.span,
                    "an optimizer has `level`s, `flow`s and `only matrices else`",
                )
    return declared


def count_of(said: ast.Expression, value: Constant | Unknown, diagnostics: Diagnostics) -> int | None:
    """The number of levels of an array, or N0202; None for one that is not known."""
    if isinstance(value, Unknown):
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_LEVELS:
        diagnostics.report(
            "N0202",
            "the number of levels of an array is a positive whole number",
            said.span,
            "write one, such as 3",
        )
        return None
    return value


def report_no_update(declaration: ast.Optimizer, declared: Declared, diagnostics: Diagnostics) -> None:
    """N0303, and what was probably meant."""
    name = declaration.name
    near = "out" if "out" in declared.flows else nearest("update", declared.flows)
    if "update" in declared.levels:
        hint = "`update` is a level here: give it another name, and write `flow update = ...` with it"
    elif near is not None:
        hint = f"is it `{near}`? what is added to the weight is called `update`"
    else:
        hint = "say what is added to the weight: `flow update = -lr * grad`"
    if not declared.broken:
        diagnostics.report("N0303", f"optimizer `{name.text}` has no `update`", name.span, hint)


def report_shape(update: ast.Flow, shape: str, diagnostics: Diagnostics) -> None:
    """N0201 for an update that has not the shape of the weight."""
    found = "one number" if shape in (CONSTANT, NUMBER) else f"`{shape}`"
    is_transposed = shape == "in × out"
    diagnostics.report(
        "N0201",
        f"the update is added to the weight and has its shape, `out × in`; this is {found}",
        update.span,
        "write `transpose(...)` around it"
        if is_transposed
        else "compute it from flows of that shape, such as `grad`",
    )


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
        diagnostics.report(
            "N0102",
            "`only` is said twice",
            only.span,
            "keep one of them",
            (Note("it was said here first", declared.only.span),),
        )
    elif only.what.text != "matrices":
        diagnostics.report(
            "N0101",
            f"`only` cannot be `{only.what.text}`",
            only.what.span,
            did_you_mean(only.what.text, ("matrices",), "write `only matrices else adamw(lr = ...)`"),
        )
    else:
        declared.only = only
