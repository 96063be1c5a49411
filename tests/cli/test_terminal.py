"""What a terminal shows, and what another stream does: colors, widths, and characters that do not print."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nestdsl.characters import in_ascii, visible, without_controls
from nestdsl.terminal import Shown, columns, is_colored, is_terminal, standard_streams, styled
from tests.cli.commands import PROGRAM, QUICK, TEXT

in_a_terminal = pytest.mark.skipif(os.name != "posix", reason="opens a terminal of POSIX")

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
COLOR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m.nest").write_text(PROGRAM)
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path


# --- characters ----------------------------------------------------------------------------


def test_controls_are_shown_and_all_else_stays() -> None:
    every = "".join(map(chr, range(0xD800)))
    shown = without_controls(every)
    assert {c for c in shown if ord(c) < 32 or 127 <= ord(c) < 160} == {"\n", "\t"}
    assert all(c in shown for c in every if c.isprintable())
    assert "\u202e" in shown and "\u202e" not in visible(every)
    assert {c for c in visible(every) if not c.isprintable()} == {"\n"}


def test_every_character_has_an_ascii_form() -> None:
    every = "".join(map(chr, range(0x30000)))
    assert in_ascii(every).isascii()
    assert in_ascii(every[:128]) == every[:128]
    for shown, typed in (("a → b", "a -> b"), ("W⁻¹ xᵀ", "W^-1 x^T"), ("é", r"\xe9"), ("日", r"\u65e5")):
        assert in_ascii(shown) == typed


def test_all_of_our_own_signs_have_an_ascii_form_that_is_no_escape() -> None:
    package = Path(sys.modules["nestdsl"].__file__ or "").parent
    paths = {*package.rglob("*.py"), *package.rglob("*.md")}
    paths -= {package / "characters.py", package / "terminal.py"}  # which show others, too
    texts = [path.read_text(encoding="utf-8") for path in paths]
    signs = {character for text in texts for character in text if not character.isascii()}
    assert len(signs) > 40
    assert {sign for sign in signs if "\\" in in_ascii(sign)} == set()


# --- streams -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terminal", "no_color", "force_color", "term", "expected"),
    [
        (True, None, None, "xterm", True),
        (True, None, None, "dumb", False),
        (True, None, None, "DUMB", False),
        (True, None, None, "unknown", False),
        (True, None, None, None, True),
        (False, None, None, "xterm", False),
        (True, "", None, "xterm", True),
        (True, "1", None, "xterm", False),
        (True, "0", None, "xterm", False),
        (False, None, "", "xterm", False),
        (False, None, "1", "xterm", True),
        (True, None, "1", "dumb", True),
        (True, "1", "1", "xterm", False),
        (False, "", "1", "dumb", True),
    ],
)
def test_when_there_are_colors(monkeypatch, terminal, no_color, force_color, term, expected) -> None:
    for name, value in (("NO_COLOR", no_color), ("FORCE_COLOR", force_color), ("TERM", term)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    assert is_colored(stream) is expected
    assert is_terminal(stream) is (terminal and (term or "").lower() not in ("dumb", "unknown"))


def test_the_width_of_what_is_no_terminal_is_not_known(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    assert columns(io.StringIO()) is None
    assert columns(Terminal()) == 50
    for wrong in ("", "0", "-3", "wide", "²"):
        monkeypatch.setenv("COLUMNS", wrong)
        assert columns(Terminal()) == 80


def test_a_terminal_shows_marks_of_direction_and_a_file_keeps_them() -> None:
    text = "a\tb\n\u202e\x1b[1m\r\n\rc"
    written = {}
    for stream in (io.StringIO(newline=""), Terminal(newline="")):
        assert Shown(stream, pytest.fail).write(text) == len(text)
        written[stream.isatty()] = stream.getvalue()
    assert written == {
        False: "a\tb\n\u202e\\x1b[1m\r\n\\rc",
        True: "a\tb\n\\u202e\\x1b[1m\r\n\\rc",
    }


def test_colors_pass_where_they_are_meant(capsys) -> None:
    with standard_streams():
        print("\x1b[1mno")
        print("\x1b[1myes", file=styled(sys.stdout))
        print("→ \udcff", file=sys.stderr)
    assert capsys.readouterr() == ("\\x1b[1mno\n\x1b[1myes\n", "→ \\udcff\n")
    print("\x1b[1mas before")
    assert capsys.readouterr().out == "\x1b[1mas before\n"


# --- in a terminal -------------------------------------------------------------------------


@in_a_terminal
@pytest.mark.parametrize("columns", [30, 100])
def test_sentences_are_broken_between_words_and_lines_of_the_program_are_not(folder, columns) -> None:
    from tests.cli.terminal import in_terminal

    long = "flow out = in -> linear(8) -> nosuchfunction(1) -> " + " -> ".join(["tanh"] * 12)
    (folder / "long.nest").write_text(f"model m {{\n  input vectors(8)\n  {long}\n}}\n")
    plain = subprocess.run(
        [sys.executable, "-m", "nestdsl", "check", "long.nest"],
        cwd=folder, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    status, shown = in_terminal(folder, "check", "long.nest", columns=columns)
    assert status == 1
    assert COLOR.search(shown) and not COLOR.search(plain)
    shown = COLOR.sub("", shown)
    assert shown.split() == plain.split()  # the same words in the same order
    places = [line for line in plain.splitlines() if re.match(r" *(-->|\d* *\|)", line)]
    assert places == [line for line in shown.splitlines() if re.match(r" *(-->|\d* *\|)", line)]
    for line in shown.splitlines():
        assert line in places or len(line) <= columns or " " not in line.strip()


@in_a_terminal
@pytest.mark.parametrize(
    ("changes", "colored"),
    [({}, True), ({"TERM": "dumb"}, False), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True)],
    ids=str,
)
def test_colors_in_a_terminal(folder, changes, colored) -> None:
    from tests.cli.terminal import in_terminal

    status, shown = in_terminal(folder, "check", "none\x1b[2J\u202e.nest", **changes)
    assert status == 1
    assert bool(COLOR.search(shown)) is colored
    assert "\x1b" not in COLOR.sub("", shown) and "\u202e" not in shown
    if not changes:
        status, shown = in_terminal(folder, "train", "--help")
        assert status == 0 and "\x1b" not in shown


@in_a_terminal
@pytest.mark.parametrize("term", ["xterm", pytest.param("dumb", marks=pytest.mark.slow)])
def test_a_run_in_a_terminal(folder, term) -> None:
    """A bar that moves, but not in a dumb terminal; and no escape in a name does anything."""
    from tests.cli.terminal import in_terminal

    (folder / "text.txt").rename(folder / "t\x1b[2J\x1b]0;t\x07\u202e.txt")
    run = ("train", "m.nest", "--data", "t\x1b[2J\x1b]0;t\x07\u202e.txt", "--out", "run", *QUICK)
    status, shown = in_terminal(folder, *run, TERM=term, columns=200)
    assert status == 0
    assert "after 1 step (" in shown and r"t\x1b[2J\x1b]0;t\x07\u202e.txt" in shown
    assert ("\x1b[2K" in shown) is (term == "xterm")
    assert set(ESCAPE.findall(shown)) <= {"\x1b[?25l", "\x1b[?25h", "\x1b[2K", *COLOR.findall(shown)}
    assert "\x1b" not in ESCAPE.sub("", shown)
    assert "\x07" not in shown and "\u202e" not in shown
