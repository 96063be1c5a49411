"""The text that people read, to the character. `|` in the margin keeps trailing blanks in view."""

import re
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nestdsl.diagnostics import Diagnostic, NestError, Note, Severity
from nestdsl.diagnostics.excerpt import MAX_CELLS, excerpt
from nestdsl.diagnostics.render import render_text
from nestdsl.source import Source, Span


def marked(text: str, name: str = "a.nest") -> Span:
    """The span between « and » in a text, which are taken out."""
    start = text.index("«")
    end = text.index("»") - 1
    return Source(text.replace("«", "").replace("»", ""), name).span(start, end)


def place(text: str) -> str:
    """How the span between « and » is shown, without the lines around it."""
    shown = render_text([Diagnostic("N0101", "m", marked(text))])
    assert shown.startswith("error[N0101]: m\n")
    assert shown.endswith("\n\n1 error")
    return shown.removeprefix("error[N0101]: m\n").removesuffix("\n\n1 error")


def lines(*expected: str) -> str:
    return "\n".join(expected)


def test_error_with_note_in_another_file_and_help() -> None:
    second = marked('use "b.nest"\n\nblock «half» {\n}\n')
    first = marked("\n" * 11 + "block «half»(x) {\n}\n", "b.nest")
    found = Diagnostic("N0102", "`half` is defined twice", second, "rename one", (Note("first here", first),))
    assert render_text([found]) == dedent(
        """\
        error[N0102]: `half` is defined twice
          --> a.nest:3:7
           |
         3 | block half {
           |       ^^^^
        note: first here
          --> b.nest:12:7
           |
        12 | block half(x) {
           |       ----
        help: rename one

        1 error"""
    )


def test_several_files_and_severities_are_counted() -> None:
    found = [
        Diagnostic("N0003", "there is no file `c.nest`"),
        Diagnostic("N0101", "unknown name `y`", marked("«y»")),
        Diagnostic("N0304", "nothing uses `z`", marked("«z»", "b.nest")),
    ]
    assert render_text(found) == dedent(
        """\
        error[N0003]: there is no file `c.nest`

        error[N0101]: unknown name `y`
         --> a.nest:1:1
          |
        1 | y
          | ^

        warning[N0304]: nothing uses `z`
         --> b.nest:1:1
          |
        1 | z
          | ^

        2 errors, 1 warning"""
    )


def test_nothing_found_is_no_text() -> None:
    assert render_text([]) == ""


def test_warning_made_an_error_is_called_one() -> None:
    found = Diagnostic("N0304", "nothing uses `z`", severity=Severity.ERROR)
    assert render_text([found, found]) == dedent(
        """\
        error[N0304]: nothing uses `z`

        error[N0304]: nothing uses `z`

        2 errors"""
    )


def test_exception_shows_its_diagnostics() -> None:
    error = NestError([Diagnostic("N0304", "nothing uses `z`")])
    assert str(error) == "\nwarning[N0304]: nothing uses `z`\n\n1 warning"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("«ab» c\n", lines(" --> a.nest:1:1", "  |", "1 | ab c", "  | ^^")),
        ("a «bc»\nd", lines(" --> a.nest:1:3", "  |", "1 | a bc", "  |   ^^")),
        ("a «bc\n»d", lines(" --> a.nest:1:3", "  |", "1 | a bc", "  |   ^^")),
        ("a bc«\n»d", lines(" --> a.nest:1:5", "  |", "1 | a bc", "  |     ^")),
        ("a «»bc", lines(" --> a.nest:1:3", "  |", "1 | a bc", "  |   ^")),
        ("a\nbc«»", lines(" --> a.nest:2:3", "  |", "2 | bc", "  |   ^")),
        ("a\n«»", lines(" --> a.nest:2:1", "  |", "2 |", "  | ^")),
        ("«»", lines(" --> a.nest:1:1", "  |", "1 |", "  | ^")),
        ("a «b\nc\nd» e", lines(" --> a.nest:1:3", "  |", "1 | a b", "  |   ^", "  | ...")),
        ("a «b\r\n»c\r\n", lines(" --> a.nest:1:3", "  |", "1 | a b", "  |   ^")),
        ("\n" * 9 + "  «b»", lines("  --> a.nest:10:3", "   |", "10 |   b", "   |   ^")),
    ],
    ids=[
        "line start",
        "line end",
        "with the line end",
        "only the line end",
        "empty",
        "empty at the end of the file",
        "after the last line end",
        "empty file",
        "several lines",
        "carriage returns",
        "wide gutter",
    ],
)
def test_caret_stands_under_the_span(text: str, expected: str) -> None:
    assert place(text) == expected


@pytest.mark.parametrize(
    ("text", "shown", "carets"),
    [
        ("\t«x»\ty", "    x   y", "    ^"),
        ("ab\t«c\td»", "ab  c   d", "    ^^^^^"),
        ("日本 «語»", "日本 語", "     ^^"),
        ("e\u0301 «x»", "e\u0301 x", "  ^"),
        ("a«\u0301»b", "a\u0301b", " ^"),
        ("\x1b[31m«x»", "\\x1b[31mx", "        ^"),
        ("\u202e«ab»", "\\u202eab", "      ^^"),
        ("a«\xa0»b", "a\\xa0b", " ^^^^"),
        ("\ufeff«x»", "\\ufeffx", "      ^"),
        ("\ud800«x»", "\\ud800x", "      ^"),
    ],
    ids=[
        "tab",
        "tabs to the next stop",
        "wide",
        "combining",
        "on a combining mark",
        "terminal escape",
        "bidirectional mark",
        "no-break space",
        "byte order mark",
        "lone surrogate",
    ],
)
def test_caret_is_aligned_on_a_terminal(text: str, shown: str, carets: str) -> None:
    column = marked(text).column
    assert place(text) == lines(f" --> a.nest:1:{column}", "  |", f"1 | {shown}", f"  | {carets}")


def test_message_hint_and_name_cannot_drive_the_terminal() -> None:
    span = Source("x", "a\x1b[2J\n.nest").span(0, 1)
    assert render_text([Diagnostic("N0101", "bad \x07\x1b]0;t", span, "one\ntwo\x00")]) == lines(
        "error[N0101]: bad \\x07\\x1b]0;t",
        " --> a\\x1b[2J\\n.nest:1:1",
        "  |",
        "1 | x",
        "  | ^",
        "help: one",
        "      two\\x00",
        "",
        "1 error",
    )


def test_long_line_is_cut_around_the_caret() -> None:
    words = " ".join(f"w{number:02}" for number in range(60))
    assert place(words.replace("w00", "«w00»")) == lines(
        " --> a.nest:1:1", "  |", f"1 | {words[:94]}...", "  | ^^^"
    )
    assert place(words.replace("w30", "«w30»")) == lines(
        " --> a.nest:1:121", "  |", f"1 | ...{words[53:147]}...", f"  | {' ' * 70}^^^"
    )
    assert place(words.replace("w59", "«w59»")) == lines(
        " --> a.nest:1:237", "  |", f"1 | ...{words[-94:]}", f"  | {' ' * 94}^^^"
    )


def test_span_longer_than_the_line_shown() -> None:
    shown = excerpt(marked("a " * 20 + "«" + "b" * 500 + "»"))
    assert cell_len(shown.text) == MAX_CELLS
    assert shown.text.endswith("b...")
    assert shown.text[shown.indent :].removesuffix("...") == "b" * shown.carets


def test_color_only_adds_escapes() -> None:
    found = [
        Diagnostic("N0101", "m", marked("a «b»"), "h", (Note("n", marked("«a» b")),)),
        Diagnostic("N0304", "w", marked("«a\nb»")),
    ]
    colored = render_text(found, color=True)
    assert "\x1b[1;31merror[N0101]\x1b[0m" in colored
    assert "\x1b[1;33mwarning[N0304]\x1b[0m" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render_text(found)


@given(st.text(st.characters(), max_size=300), st.data())
def test_any_span_of_any_text_is_shown_safely(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    shown = excerpt(Source(text).span(start, end))
    assert shown.text.isprintable()
    assert cell_len(shown.text) <= 2 * MAX_CELLS
    assert 0 <= shown.indent <= MAX_CELLS
    assert 1 <= shown.carets <= MAX_CELLS
