"""An optimizer without an update, or with one that has not the shape of the weight."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics
from nestdsl.semantics.names.declared import Declared
from nestdsl.semantics.suggestions import nearest
from nestdsl.syntax import ast
from nestdsl.vocabulary.shapes import CONSTANT, NUMBER, MatrixShape, Shape


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
    if not declared.broken and not declared.has_unnamed:
        diagnostics.report("N0303", f"optimizer `{name.text}` has no `update`", name.span, hint)


def report_shape(update: ast.Flow, shape: Shape, diagnostics: Diagnostics) -> None:
    """N0201 for an update that has not the shape of the weight."""
    found = "one number" if shape in (CONSTANT, NUMBER) else f"`{shape}`"
    is_transposed = shape == MatrixShape("in", "out")
    diagnostics.report(
        "N0201",
        f"the update is added to the weight and has its shape, `out × in`; this is {found}",
        update.span,
        "write `transpose(...)` around it"
        if is_transposed
        else "compute it from flows of that shape, such as `grad`",
    )
