"""Whole programs with what the compiler says of them.

`bad/NXXXX_*.nest` are programs with mistakes; `.expected` beside each is what `check` prints.
`good/*.nest` are programs with nothing wrong; `.expected` beside each is the plan, as YAML.

After a change of messages or plans, write them all anew and read the difference:

    NESTDSL_GOLDEN=write python -m pytest tests/golden
    git diff tests/golden
"""

import os
from pathlib import Path

import pytest

from nestdsl.compiler import analyse
from nestdsl.diagnostics import NestError
from nestdsl.diagnostics.codes import CODES
from nestdsl.diagnostics.render import render_text
from nestdsl.plan.lower import lower
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.syntax.files import read_source

HERE = Path(__file__).parent
BAD = sorted((HERE / "bad").glob("*.nest"))
GOOD = sorted((HERE / "good").glob("*.nest"))

NOT_OF_A_FILE = {
    "N0106": "overrides come from outside",
    "N0406": "the length of a sequence is known when a run starts",
}


def compare(program: Path, found: str) -> None:
    expected = program.with_suffix(".expected")
    if os.environ.get("NESTDSL_GOLDEN") == "write":
        expected.write_text(found, encoding="utf-8")
    assert found == expected.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def in_the_folder_of(request, monkeypatch):
    """So that messages name files without the place of this checkout."""
    if "program" in request.fixturenames:
        monkeypatch.chdir(request.getfixturevalue("program").parent)


def found_in(program: Path):
    try:
        return analyse(read_source(program.name)).diagnostics
    except NestError as error:
        return error.diagnostics


@pytest.mark.parametrize("program", BAD, ids=lambda path: path.stem)
def test_mistakes(program):
    found = found_in(program)
    code = program.stem.partition("_")[0]
    if code in CODES:
        assert code in {diagnostic.code for diagnostic in found}
    assert found
    for diagnostic in found:
        assert diagnostic.hint, f"no hint: {diagnostic.message}"
        assert str(HERE) not in diagnostic.message
    compare(program, render_text(found) + "\n")


@pytest.mark.parametrize("program", GOOD, ids=lambda path: path.stem)
def test_plans(program):
    analysis = analyse(read_source(program.name))
    assert not analysis.diagnostics, render_text(analysis.diagnostics)
    plan = lower(analysis.graph(), analysis.source.name)
    text = to_yaml(plan)
    assert from_yaml(text) == plan
    compare(program, text)


def test_every_code_that_a_program_can_cause_has_a_program():
    shown = {path.stem.partition("_")[0] for path in BAD}
    wanted = {code for code in CODES if code < "N0500"} - NOT_OF_A_FILE.keys()
    assert wanted <= shown


def test_every_expectation_belongs_to_a_program():
    programs = {path.with_suffix("") for path in [*BAD, *GOOD]}
    assert {path.with_suffix("") for path in HERE.glob("*/*.expected")} == programs
