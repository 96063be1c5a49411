"""What the documents show works as shown."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from nestdsl.cli.commands import COMMANDS
from nestdsl.cli.main import main
from nestdsl.compiler import analyse
from nestdsl.source import Source
from nestdsl.syntax.files import read_source
from nestdsl.syntax.formatter import format_source
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS, PYTHON_KINDS
from nestdsl.vocabulary.signatures import LIBRARY

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = sorted([*(ROOT / "examples").rglob("*.nest"), *(ROOT / "nestdsl" / "std").glob("*.nest")])


def fences(language: str) -> list[tuple[str, str]]:
    found = []
    for document in DOCUMENTS:
        for number, text in enumerate(
            re.findall(rf"```{language}\n(.*?)```", document.read_text("utf-8"), re.S)
        ):
            found.append((f"{document.name}-{number}", text))
    return found


@pytest.mark.parametrize(("name", "text"), fences("nest"))
def test_programs_in_documents_are_right(name: str, text: str) -> None:
    assert analyse(Source(text, name)).diagnostics == ()


@pytest.mark.parametrize(("name", "text"), fences("python"))
def test_python_in_documents_runs(name: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    tables = (LIBRARY.kinds, LIBRARY.functions, PYTHON_KINDS, PYTHON_FUNCTIONS)
    before = [dict(table) for table in tables]
    try:
        exec(compile(text, name, "exec"), {"__name__": "document"})
    finally:
        for table, content in zip(tables, before, strict=True):
            table.clear()
            table.update(content)


def test_the_kinds_of_the_language_page_work_in_a_module_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (page,) = (
        text for name, text in fences("python") if name.startswith("language") and "init_state" in text
    )
    kinds, sign, rest = page.partition("nest = nestdsl.parse(")
    (tmp_path / "my_kinds.py").write_text(kinds)
    (tmp_path / "means.nest").write_text(rest.split('"""')[1])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    tables = (LIBRARY.kinds, LIBRARY.functions, PYTHON_KINDS, PYTHON_FUNCTIONS)
    before = [dict(table) for table in tables]
    try:
        assert sign and main(["explain", "means.nest", "--import", "my_kinds"]) == 0
        assert "running_mean" in capsys.readouterr().out
    finally:
        sys.modules.pop("my_kinds", None)
        for table, content in zip(tables, before, strict=True):
            table.clear()
            table.update(content)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_programs_of_the_project_are_clean_formatted_and_say_what_they_show(path: Path) -> None:
    source = read_source(path)
    assert analyse(source).diagnostics == ()
    assert format_source(source) == source.text
    assert source.text.startswith("# ")


def test_links_of_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    for command in COMMANDS:
        assert f"nestdsl {command}" in text, command


def test_the_program_of_the_readme_is_the_example_that_is_drawn_below_it() -> None:
    programs = [text for name, text in fences("nest") if name.startswith("README")]
    assert programs == [(ROOT / "examples" / "hope.nest").read_text("utf-8")]


def test_the_language_page_lists_every_block_and_optimizer_of_the_library() -> None:
    listed = re.findall(r"^std\.(\w+): (.+)$", (ROOT / "docs/language.md").read_text("utf-8"), re.MULTILINE)
    library = [
        (path.stem, signature)
        for path in sorted((ROOT / "nestdsl/std").glob("*.nest"))
        for signature in re.findall(
            r"^(?:block|optimizer) (\w+\([^)]*\)) \{", path.read_text("utf-8"), re.MULTILINE
        )
    ]
    assert listed == library
