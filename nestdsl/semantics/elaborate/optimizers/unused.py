"""Warnings for what nothing in an optimizer uses: parameters, flows and levels."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from nestdsl.diagnostics import Diagnostics
from nestdsl.syntax import ast

_WORD = re.compile(r"[A-Za-z_]\w*")
_HINT = "use it on the way to `update`, or remove it"


def report_unused(
    declaration: ast.Optimizer,
    flows: Mapping[str, ast.Flow],
    levels: Mapping[str, ast.Level],
    used: Collection[str],
    diagnostics: Diagnostics,
) -> None:
    """N0304 for each parameter, flow and level whose name is not in `used`."""
    # A later parameter may be computed from an earlier one.
    defaults = [one.default.span.text for one in declaration.parameters if one.default is not None]
    words = {*used, *(word for text in defaults for word in _WORD.findall(text))}
    for parameter in declaration.parameters:
        if parameter.name.text not in words:
            message = f"nothing in `{declaration.name.text}` uses its parameter `{parameter.name.text}`"
            diagnostics.report("N0304", message, parameter.span, _HINT)
    for name, statement in {**flows, **levels}.items():
        if name not in used and name != "update":
            what = "uses the flow" if name in flows else "reads the level"
            diagnostics.report("N0304", f"nothing {what} `{name}`", statement.span, _HINT)
