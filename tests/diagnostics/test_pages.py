"""Every code has a page that teaches by an example, and every page has a code."""

from importlib.resources import files

import pytest

from nestdsl.diagnostics import CODES, NestError
from nestdsl.diagnostics.explain import explain
from tests.diagnostics.fences import fences

# About files, overrides, data and runs: no text of a program can show these.
SHOWN_BY_COMMANDS = {"N0003", "N0106", "N0406", "N0501", "N0502", "N0503", "N0504", "N0505", "N0506"}


def test_pages_and_codes_are_the_same() -> None:
    pages = files("nestdsl.diagnostics").joinpath("pages").iterdir()
    assert sorted(page.name for page in pages) == [f"{code}.md" for code in sorted(CODES)]


@pytest.mark.parametrize("code", sorted(CODES))
def test_page_has_title_and_both_examples(code: str) -> None:
    page = explain(code)
    assert page.startswith(f"# {code}: {CODES[code].title}\n\n")
    language = "console" if code in SHOWN_BY_COMMANDS else "nest"
    wrong, right = fences(page)
    assert (wrong.language, wrong.outcome) == (language, "error")
    assert (right.language, right.outcome) == (language, "ok")
    assert wrong.text != right.text
    assert 15 <= page.count("\n") <= 40
    assert max(map(len, page.splitlines())) <= 102


@pytest.mark.parametrize("code", sorted(SHOWN_BY_COMMANDS))
def test_console_examples_show_their_code(code: str) -> None:
    wrong, right = fences(explain(code))
    assert f"{CODES[code].severity.value}[{code}]: " in wrong.text
    assert right.text.startswith("$ nestdsl ")
    assert code not in right.text


def test_code_may_be_written_in_lower_case() -> None:
    assert explain(" n0301 ") == explain("N0301")


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("N0311", "did you mean `N0301`?"),
        ("0301", "did you mean `N0301`?"),
        ("../../secret", "codes look like `N0301`"),
        ("", "codes look like `N0301`"),
    ],
)
def test_unknown_code_is_a_diagnostic(code: str, hint: str) -> None:
    with pytest.raises(NestError) as raised:
        explain(code)
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "N0101"
    assert diagnostic.message == f"no diagnostic has the code `{code}`"
    assert diagnostic.hint == hint
