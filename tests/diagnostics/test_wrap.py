"""Sentences broken between words."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nestdsl.diagnostics import Diagnostic
from nestdsl.diagnostics.render import render_text
from nestdsl.diagnostics.wrap import wrapped

WORDS = st.lists(
    st.text(st.characters(codec="ascii", min_codepoint=33), min_size=1, max_size=12), max_size=60
)


@given(WORDS, st.integers(1, 120), st.integers(0, 20), st.integers(0, 8))
def test_no_line_is_too_long_and_no_word_is_lost(words, width, first, rest) -> None:
    text = " ".join(words)
    lines = wrapped(text, width, first, rest).split("\n")
    assert " ".join(line[rest * bool(number) :] for number, line in enumerate(lines)) == text
    assert all(line.startswith(" " * rest) for line in lines[1:])
    if width - rest >= 20:
        for number, line in enumerate(lines):
            taken = first if number == 0 else 0
            assert taken + cell_len(line) <= width or " " not in line.strip()
    else:
        assert len(lines) == 1


@given(st.text(st.sampled_from("ab \n日"), max_size=200), st.integers(20, 60))
def test_line_ends_and_spaces_of_the_text_stay(text, width) -> None:
    assert wrapped(text, width, 0, 0).replace("\n", " ") == text.replace("\n", " ")
    for line in wrapped(text, width, 0, 0).split("\n"):
        assert cell_len(line) <= width or " " not in line.strip()


def test_without_a_width_only_line_ends_count() -> None:
    assert wrapped("one two\nthree " + "x " * 100, None, 9, 2) == "one two\n  three " + "x " * 100


def test_a_diagnostic_as_wide_as_a_terminal() -> None:
    found = Diagnostic("N0101", "one two three four five six seven", None, "alpha beta gamma delta epsilon")
    assert render_text([found], width=32) == (
        "error[N0101]: one two three four\n"
        "  five six seven\n"
        "help: alpha beta gamma delta\n"
        "      epsilon\n"
        "\n"
        "1 error"
    )
    assert render_text([found]).splitlines()[0] == "error[N0101]: one two three four five six seven"
