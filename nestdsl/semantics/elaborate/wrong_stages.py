"""What stands behind `->` in a model and is nothing that a flow can be piped into: `in -> a + b`."""

from __future__ import annotations

from collections.abc import Sequence

from nestdsl.semantics.elaborate.scope import BodyScope
from nestdsl.semantics.names.meanings import FlowName, LevelName
from nestdsl.semantics.rewriting import as_sum, loosest, text_of
from nestdsl.source import Span
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import LIBRARY


def report_reversed(body: BodyScope, stages: Sequence[ast.Expression]) -> bool:
    """Reports `level -> flow`, with the two the wrong way round; whether it is that."""
    match stages:
        case (ast.Name(level, span), ast.Name(flow) as last):
            pass
        case _:
            return False
    meanings = body.meaning(level), body.meaning(flow)
    if not isinstance(meanings[0], LevelName) or not isinstance(meanings[1], FlowName):
        return False
    body.diagnostics.report(
        "N0104",
        f"`{level}` is a level: what it reads stands before it",
        span.to(last.span),
        f"write `{flow} -> {level}`",
    )
    return True


def report_no_stage(body: BodyScope, stage: ast.Expression, before: Span) -> None:
    """Reports an expression. `before` is what is piped into it."""
    dashed = _dashed(body, stage)
    found = loosest(stage, before)
    what = "a flow is piped into a level, kind, function or block"
    if dashed:
        body.diagnostics.report("N0104", f"{what}, not into a difference", stage.span, dashed)
    elif found and _is_stage(body, found[0]):
        first, _, written = found
        message = f"`->` binds loosest: this is computed with `{text_of(first.span)}` before a flow is piped"
        place = before.to(stage.span)
        body.diagnostics.report("N0104", message, place, f"write `{as_sum(written, place)}`")
    else:
        hint = "`->` binds loosest: write `(a -> b) + c` to add to what a pipe gives"
        body.diagnostics.report("N0104", what, stage.span, hint)


def report_no_level(body: BodyScope, name: str, before: Span, span: Span) -> None:
    """Reports `a -> b` where b is a flow or a value."""
    thing = "a flow" if isinstance(body.meaning(name), FlowName) else "a value"
    piped_text = text_of(before)
    first = f"({piped_text})" if "->" in piped_text else piped_text
    place = before.to(span)
    choices = [as_sum(f"{first} {sign} {name}", place) for sign in "+*"]
    body.diagnostics.report(
        "N0104",
        f"`{name}` is {thing}; a flow is piped into a level, kind, function or block",
        place,
        f"write `{choices[0]}` or `{choices[1]}`",
    )


def _is_stage(body: BodyScope, expression: ast.Expression) -> bool:
    name = expression.function if isinstance(expression, ast.Call) else expression
    if not isinstance(name, ast.Name):
        return False
    is_level = isinstance(body.meaning(name.text), LevelName)
    return is_level or name.text in LIBRARY.functions or body.makes_levels(name.text)


def _dashed(body: BodyScope, stage: ast.Expression) -> str:
    """A hint for a name with a `-` in it, where one with `_` is known; or ""."""
    name = stage.span.text.replace("-", "_")
    is_known = name.isidentifier() and name != stage.span.text and body.meaning(name) is not None
    return f"did you mean `{name}`?" if is_known else ""
