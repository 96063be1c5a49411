"""N0102: what stands twice where one of it may stand."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics, Note
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.syntax.names import names_in


def report_twice(
    diagnostics: Diagnostics, name: ast.Name, first: Span, value: ast.Expression | None = None
) -> None:
    """N0102 with the place of the first definition; `value` is that of a flow."""
    hint = "give one of them another name"
    if value is not None and any(
        isinstance(one, ast.Name) and one.text == name.text for one in names_in(value)
    ):
        hint = f"a flow has one value: call this `{name.text}_2`, and read `{name.text}_2` from here on"
    diagnostics.report(
        "N0102",
        f"`{name.text}` is defined twice",
        name.span,
        hint,
        (Note(f"`{name.text}` was defined here first", first),),
    )


def report_said_twice(diagnostics: Diagnostics, word: str, again: Span, first: Span, hint: str) -> None:
    """N0102 for a clause or statement, with its first place."""
    note = Note("it was said here first", first)
    diagnostics.report("N0102", f"`{word}` is given twice", again, hint, (note,))
