"""Arrays of levels in models and in optimizers: which element an index names."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics
from nestdsl.semantics.constants import Constant, Unknown, describe
from nestdsl.source import Span
from nestdsl.syntax import ast


def position_in(
    index: ast.Index, position: Constant | Unknown, count: int, diagnostics: Diagnostics
) -> int | None:
    """The position that an index names in an array of `count` levels; None after a mistake."""
    if isinstance(position, Unknown):
        return None
    if isinstance(position, int) and not isinstance(position, bool) and 0 <= position < count:
        return position
    diagnostics.report(
        "N0203",
        f"`{index.name.text}` has no element {describe(position)}",
        index.index.span,
        f"its elements are 0 to {count - 1}",
    )
    return None


def report_no_array(index: ast.Index, what: str, diagnostics: Diagnostics) -> None:
    """Reports an index of something that has no elements."""
    name = index.name.text
    hint = f"write `{name}`: only an array, `level name[3] = ...`, has elements"
    diagnostics.report("N0104", f"`{name}` is {what}", index.span, hint)


def report_whole_array(name: str, span: Span, diagnostics: Diagnostics) -> None:
    """Reports an array where the state of one level is needed."""
    diagnostics.report(
        "N0104",
        f"`{name}` is an array: its elements have a state each",
        span,
        f"name one of them, such as `{name}[0]`",
    )
