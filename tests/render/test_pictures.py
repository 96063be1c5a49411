"""Pictures as files: every format, with and without the system's `dot`, and what goes wrong."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nestdsl.api import Nest, parse
from nestdsl.cli.main import main
from nestdsl.diagnostics import NestError
from nestdsl.render import engine
from nestdsl.render.engine import draw
from nestdsl.render.notebook import Picture, picture
from tests.render.programs import RESIDUAL

DOT = "digraph { a -> b }"

needs_shell = pytest.mark.skipif(os.name == "nt", reason="the stand-in for dot is a shell script")


@pytest.fixture
def nest() -> Nest:
    return parse(RESIDUAL)


@pytest.fixture
def without_dot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A PATH on which nothing is installed."""
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))


def stand_in(folder: Path, script: str) -> None:
    folder.mkdir()
    program = folder / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def message(error: pytest.ExceptionInfo[NestError]) -> tuple[str, str, str]:
    (diagnostic,) = error.value.diagnostics
    return diagnostic.code, diagnostic.message, diagnostic.hint


def test_without_dot_svg_and_png_are_drawn(without_dot: None) -> None:
    assert ElementTree.fromstring(draw(DOT, "svg")).tag.endswith("svg")
    assert draw(DOT, "png").startswith(b"\x89PNG")
    assert draw(DOT, "dot") == DOT.encode()


def test_without_dot_a_pdf_says_what_to_install(without_dot: None) -> None:
    with pytest.raises(NestError) as error:
        draw(DOT, "pdf")
    code, said, hint = message(error)
    assert code == "N0504"
    assert "`dot`" in said
    assert "install graphviz" in hint
    assert ".svg" in hint


@pytest.mark.skipif(shutil.which("dot") is None, reason="there is no `dot` on this machine")
def test_with_dot_a_pdf_is_drawn() -> None:
    assert draw(DOT, "pdf").startswith(b"%PDF")


@needs_shell
def test_the_systems_dot_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path / "bin", 'echo "%PDF drawn with $1"; cat; echo "%%EOF"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert draw(DOT, "pdf") == f"%PDF drawn with -Tpdf\n{DOT}%%EOF\n".encode()


@needs_shell
def test_a_dot_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path / "bin", "cat > /dev/null; echo 'no plugins' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(NestError) as error:
        draw(DOT, "svg")
    assert message(error)[0] == "N0504"
    assert "no plugins" in message(error)[1]


@needs_shell
@pytest.mark.parametrize("format", ["svg", "png", "pdf"])
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("true", "wrote nothing"),
        ("cat > /dev/null", "wrote nothing"),
        ("echo hello", "wrote something else"),
        ("echo '<svg'", "wrote something else"),
        ("printf '<svg>\\377</svg>'", "wrote something else"),
        ("echo '<svg></svg> and more'", "wrote something else"),
        ("echo '%PDF-1.7'", "wrote something else"),
        ("printf '\\211PNG'", "wrote something else"),
        ("head -c 100000 /dev/urandom", "wrote something else"),
        ("exit 3", "could not draw this: exit status 3"),
        ("kill -SEGV $$", "could not draw this: signal 11"),
        ("yes", "was stopped: it wrote more than 1 MiB"),
        ("yes >&2", "was stopped: it wrote more than 1 MiB"),
        ("exec sleep 60", "was stopped: it did not end within 0.5 seconds"),
        ("sleep 60 & sleep 60", "was stopped: it did not end within 0.5 seconds"),
    ],
)
def test_a_dot_that_draws_nothing_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str, format: str
) -> None:
    stand_in(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(engine, "TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(engine, "MAX_BYTES", 2**20)
    begun = time.monotonic()
    with pytest.raises(NestError) as error:
        draw(DOT, format)
    assert time.monotonic() - begun < 10
    assert message(error)[0] == "N0504"
    assert said in message(error)[1]
    assert ".dot" in message(error)[2]


@needs_shell
def test_a_dot_that_fails_leaves_the_last_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path / "bin", "true")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    path = tmp_path / "picture.svg"
    path.write_text("drawn before")
    with pytest.raises(NestError):
        Picture("a", DOT).save(path)
    assert path.read_text() == "drawn before"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bin", "picture.svg"]


def test_where_nothing_draws_the_error_says_so(
    without_dot: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(NestError) as error:
        draw(DOT, "svg")
    assert "graphviz-pure" in message(error)[2]


def test_a_picture_shows_itself_in_a_notebook(nest: Nest) -> None:
    shown = nest.render("flow")
    assert isinstance(shown, Picture)
    assert shown._repr_svg_() == shown.svg
    assert shown.svg.startswith("<svg")
    assert shown.svg.endswith("</svg>")
    assert ElementTree.fromstring(shown.svg).tag.endswith("svg")
    assert shown.dot.startswith("digraph residual {")


@pytest.mark.parametrize(
    ("suffix", "start"),
    [("svg", b"<?xml"), ("png", b"\x89PNG"), ("dot", b"digraph"), ("html", b"<!DOCTYPE"), ("SVG", b"<?xml")],
)
def test_a_picture_is_saved_as_its_suffix_says(nest: Nest, tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"picture.{suffix}"
    nest.render().save(path)
    assert path.read_bytes().startswith(start)


def test_a_page_is_complete_in_itself(tmp_path: Path) -> None:
    Picture("a < b", DOT).save(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<title>a &lt; b</title>" in text
    assert text.count("<svg") == 1
    assert "src=" not in text
    assert "<link" not in text


def test_a_view_that_does_not_exist_is_reported(nest: Nest) -> None:
    with pytest.raises(NestError) as error:
        picture(nest.nest_graph, "nestling")
    assert message(error) == ("N0103", "there is no view `nestling`", "choose one of nesting, flow")


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "residual.nest").write_text(RESIDUAL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_writes_a_picture_beside(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "residual.nest"]) == 0
    assert capsys.readouterr().out == "residual.svg\n"
    assert (folder / "residual.svg").read_bytes().startswith(b"<?xml")


def test_the_command_takes_view_and_output(folder: Path) -> None:
    assert main(["render", "residual.nest", "--view", "flow", "-o", "flow.dot"]) == 0
    assert (folder / "flow.dot").read_text(encoding="utf-8") == parse(RESIDUAL).render("flow").dot


@pytest.mark.parametrize("view", ["nesting", "flow"])
def test_the_command_draws_optimizers(folder: Path, view: str) -> None:
    assert main(["render", "residual.nest", "--view", view, "--optimizers", "-o", "all.dot"]) == 0
    drawn = (folder / "all.dot").read_text(encoding="utf-8")
    assert drawn == parse(RESIDUAL).render(view, optimizers=True).dot
    assert "sum_of" in drawn


def test_the_command_sets_parameters(folder: Path) -> None:
    (folder / "wide.nest").write_text(
        RESIDUAL.replace("residual()", "wide(n = 8)").replace("vectors(8)", "vectors(n)")
    )
    assert main(["render", "wide.nest", "--set", "n=4*4", "-o", "wide.dot"]) == 0
    assert "vectors, 16" in (folder / "wide.dot").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("picture.gif", "`.gif` is no format of pictures"),
        ("picture", "picture has no suffix that names a format"),
        ("missing/picture.svg", "cannot be written"),
        ("folder.svg", "cannot be written"),
        ("nul\0.svg", "cannot be written"),
    ],
)
def test_an_output_that_cannot_be_written_is_reported(
    folder: Path, capsys: pytest.CaptureFixture[str], output: str, said: str
) -> None:
    (folder / "folder.svg").mkdir()
    assert main(["render", "residual.nest", "-o", output]) == 1
    printed = capsys.readouterr().err
    assert "N0504" in printed
    assert said in printed


def test_mistakes_in_the_program_are_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "wrong.nest").write_text(RESIDUAL.replace("-> b", "-> d"))
    assert main(["render", "wrong.nest"]) == 1
    assert "N0101" in capsys.readouterr().err
    assert not (folder / "wrong.svg").exists()


def test_a_missing_program_is_reported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "missing.nest"]) == 1
    assert "N0003" in capsys.readouterr().err


def test_the_program_beside_the_interpreter_is_found() -> None:
    """What a test with an empty PATH relies on, said on its own."""
    done = subprocess.run([engine._graphviz_pure(), "-V"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert sys.platform != "linux" or "graphviz" in (done.stdout + done.stderr).lower()
