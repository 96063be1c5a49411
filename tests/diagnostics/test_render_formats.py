"""The two formats that programs read."""

import json
from dataclasses import replace

from nestdsl.compiler import analyse
from nestdsl.diagnostics import Diagnostic, Note
from nestdsl.diagnostics.render import render_github, render_json
from nestdsl.source import Source

SOURCE = Source('flow a = "ü"\nflow b = lineer\n', "dir/a,b:c.nest")
SPAN = SOURCE.span(22, 28)


def test_json_is_one_object_a_line() -> None:
    found = [
        Diagnostic("N0101", "unknown name `lineer`\nhere", SPAN, "did you mean `linear`?"),
        Diagnostic("N0304", "nothing uses `ü\ud800`"),
    ]
    rendered = render_json(found)
    assert rendered.isascii()
    first, second = map(json.loads, rendered.split("\n"))
    assert first == {
        "code": "N0101",
        "severity": "error",
        "message": "unknown name `lineer`\nhere",
        "hint": "did you mean `linear`?",
        "file": "dir/a,b:c.nest",
        "line": 2,
        "column": 10,
        "end_line": 2,
        "end_column": 16,
    }
    assert second == {
        "code": "N0304",
        "severity": "warning",
        "message": "nothing uses `ü\ud800`",
        "hint": "",
        "file": None,
        "line": None,
        "column": None,
        "end_line": None,
        "end_column": None,
    }
    assert list(first) == list(second)


def test_github_escapes_what_would_end_a_command() -> None:
    found = [
        Diagnostic("N0101", "100%\r\n::error::no", SPAN, "a, b: c", (Note("first", SOURCE.span(5, 6)),)),
        Diagnostic("N0304", "plain"),
    ]
    assert render_github(found) == (
        "::error file=dir/a%2Cb%3Ac.nest,line=2,col=10,endLine=2,endColumn=16,title=N0101"
        "::100%25\\r%0A::error::no%0Anote: first (dir/a,b:c.nest:1:6)%0Ahelp: a, b: c\n"
        "::warning title=N0304::plain"
    )


def test_nothing_found_is_no_text() -> None:
    assert render_json([]) == ""
    assert render_github([]) == ""


def test_json_has_the_notes_of_a_diagnostic_and_only_then() -> None:
    text = "model m {\n  input ids(4)\n  input ids(5)\n  flow out = in -> embedding(4)\n}\n"
    (only,) = analyse(Source(text, "twice.nest")).diagnostics
    shown = json.loads(render_json((only,)))
    assert [(note["message"], note["file"], note["line"], note["column"]) for note in shown["related"]] == [
        ("it was said here first", "twice.nest", 2, 3)
    ]
    assert "related" not in json.loads(render_json((replace(only, notes=()),)))
