"""N0301, N0104: what needs itself in an optimizer, and optimizers that leave their rest to one another."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from nestdsl.diagnostics import Diagnostics
from nestdsl.syntax import ast


def report_needs_itself(
    name: ast.Name, open_: Sequence[str], levels: Collection[str], diagnostics: Diagnostics
) -> None:
    """A name that is needed while it is computed; `open_`: what is being computed, in the order it began."""
    circle = [*open_[open_.index(name.text) :], name.text]
    needs = f"`{circle[0]}` needs {', which needs '.join(f'`{one}`' for one in circle[1:])}"
    memory = next((base for one in circle if (base := one.partition("[")[0]) in levels), None)
    hint = (
        f"say `read before` at `{memory}`: it is then read as it was before this step"
        if memory
        else "compute one of them from something else"
    )
    diagnostics.report(
        "N0301",
        f"`{name.text}` needs itself" + (f": {needs}" if len(circle) > 2 else " at the same update"),
        name.span,
        hint,
    )


def report_left_in_a_circle(circle: Sequence[ast.Optimizer], diagnostics: Diagnostics) -> None:
    """Optimizers that leave their rest to one another: told once, where the first of them does."""
    start = min(range(len(circle)), key=lambda one: circle[one].span.start)
    circle = [*circle[start:], *circle[:start]]
    only = next(one for one in circle[0].body if isinstance(one, ast.Only))
    names = [f"`{one.name.text}`" for one in (*circle[1:], circle[0])]
    diagnostics.report(
        "N0104",
        f"`{circle[0].name.text}` leaves its rest to "
        + ", which leaves its rest to ".join(names)
        + ": nothing drives it",
        only.otherwise.span,
        "name an optimizer that drives every weight, such as `adamw(lr = lr)`",
    )
