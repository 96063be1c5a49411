"""Diagnostics as text for people, as JSON lines for programs and as GitHub annotations.

Each renderer takes diagnostics in the order they shall appear (`Diagnostics.in_order()`), and
gives text without a final line end; nothing found gives "".
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from nestdsl.characters import visible
from nestdsl.diagnostics.codes import Severity
from nestdsl.diagnostics.excerpt import excerpt, is_multiline
from nestdsl.diagnostics.finding import Finding
from nestdsl.diagnostics.quantities import counted
from nestdsl.diagnostics.wrap import wrapped
from nestdsl.source import Span

_RESET = "\x1b[0m"
_BOLD = "\x1b[1m"
_RED = "\x1b[1;31m"
_YELLOW = "\x1b[1;33m"
_BLUE = "\x1b[1;34m"
_CYAN = "\x1b[1;36m"


def render_text(diagnostics: Iterable[Finding], color: bool = False, width: int | None = None) -> str:
    """Each diagnostic with its source line, a caret, its notes and its hint; then the count.

    Sentences are broken between words so that no line of theirs is longer than `width` cells, if one is
    given; a line of the program never is.
    """
    found = tuple(diagnostics)
    if not found:
        return ""
    return "\n\n".join([*(_render_one(diagnostic, color, width) for diagnostic in found), summary(found)])


def render_json(diagnostics: Iterable[Finding]) -> str:
    """One JSON object a line, with the keys of LANGUAGE.md section 8.

    Lines and columns count characters from 1, the end is exclusive; null where there is no place. A
    diagnostic with notes has them in `related`, each a message with its place.
    """
    return "\n".join(json.dumps(_as_object(diagnostic)) for diagnostic in diagnostics)


def render_github(diagnostics: Iterable[Finding]) -> str:
    """One workflow command a line; GitHub shows each beside its line in a pull request."""
    return "\n".join(map(_as_workflow_command, diagnostics))


def summary(diagnostics: Iterable[Finding]) -> str:
    """How many of each: "2 errors, 1 warning"."""
    found = tuple(diagnostics)
    errors = sum(diagnostic.is_error for diagnostic in found)
    counts = ((errors, "error"), (len(found) - errors, "warning"))
    return ", ".join(counted(count, word) for count, word in counts if count)


def _severity(diagnostic: Finding) -> str:
    return (diagnostic.severity or Severity.ERROR).value


# --- text ----------------------------------------------------------------------------------


def _render_one(diagnostic: Finding, color: bool, width: int | None) -> str:
    style = _RED if diagnostic.is_error else _YELLOW
    spans = [span for span in (diagnostic.span, *(note.span for note in diagnostic.notes)) if span]
    gutter = max((len(str(span.line)) for span in spans), default=0)
    title = f"{_severity(diagnostic)}[{diagnostic.code}]"
    message = wrapped(visible(diagnostic.message), width, len(title) + 2, 2)
    lines = [f"{_paint(title, style, color)}{_paint(': ' + message, _BOLD, color)}"]
    if diagnostic.span:
        lines += _place(diagnostic.span, gutter, "^", style, color)
    for note in diagnostic.notes:
        lines.append(_labelled("note", note.message, color, width))
        lines += _place(note.span, gutter, "-", _BLUE, color)
    if diagnostic.hint:
        lines.append(_labelled("help", diagnostic.hint, color, width))
    return "\n".join(lines)


def _labelled(label: str, text: str, color: bool, width: int | None) -> str:
    indent = len(label) + 2
    return f"{_paint(label, _CYAN, color)}: {wrapped(visible(text), width, indent, indent)}"


def _place(span: Span, gutter: int, mark: str, style: str, color: bool) -> list[str]:
    shown = excerpt(span)
    bar = _paint("|", _BLUE, color)
    margin = " " * gutter
    place = visible(str(span)).replace("\n", "\\n")
    carets = _paint(mark * shown.carets, style, color)
    lines = [
        f"{margin}{_paint('-->', _BLUE, color)} {place}",
        f"{margin} {bar}",
        f"{_paint(f'{span.line:>{gutter}}', _BLUE, color)} {bar} {shown.text}".rstrip(),
        f"{margin} {bar} {' ' * shown.indent}{carets}",
    ]
    if is_multiline(span):
        lines.append(f"{margin} {bar} ...")
    return lines


def _paint(text: str, style: str, color: bool) -> str:
    return f"{style}{text}{_RESET}" if color else text


# --- JSON and GitHub -----------------------------------------------------------------------


def _as_object(diagnostic: Finding) -> dict[str, object]:
    shown: dict[str, object] = {
        "code": diagnostic.code,
        "severity": _severity(diagnostic),
        "message": diagnostic.message,
        "hint": diagnostic.hint,
        **_place_as_object(diagnostic.span),
    }
    if diagnostic.notes:
        shown["related"] = [
            {"message": note.message, **_place_as_object(note.span)} for note in diagnostic.notes
        ]
    return shown


def _place_as_object(span: Span | None) -> dict[str, object]:
    return {
        "file": span.source.name if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
        "end_line": span.end_line if span else None,
        "end_column": span.end_column if span else None,
    }


def _as_workflow_command(diagnostic: Finding) -> str:
    span = diagnostic.span
    properties: dict[str, str | int] = {}
    if span:
        properties["file"] = span.source.name
        properties["line"] = span.line
        properties["col"] = span.column
        properties["endLine"] = span.end_line
        properties["endColumn"] = span.end_column
    properties["title"] = diagnostic.code
    listed = ",".join(f"{name}={_escape_property(str(value))}" for name, value in properties.items())
    body = [diagnostic.message]
    body += [f"note: {note.message} ({note.span})" for note in diagnostic.notes]
    if diagnostic.hint:
        body.append(f"help: {diagnostic.hint}")
    return f"::{_severity(diagnostic)} {listed}::{_escape_data(chr(10).join(body))}"


def _escape_data(text: str) -> str:
    return visible(text).replace("%", "%25").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
