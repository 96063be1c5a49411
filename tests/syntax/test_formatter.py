"""One layout: the same tree and the same comments, and nothing left to change the second time."""

import re

import pytest
from hypothesis import given

from nestdsl.diagnostics import NestError
from nestdsl.source import Source
from nestdsl.syntax.formatter import LINE_LENGTH, format_source
from tests.syntax.programs import DESIGN, programs, shape, tree


def formatted(text: str) -> str:
    return format_source(Source(text))


def body(text: str) -> str:
    lines = formatted("block b {\n" + text + "\n}\n").splitlines()
    assert lines[0] == "block b {"
    assert lines[-1] == "}"
    return "\n".join(line.removeprefix("  ") for line in lines[1:-1])


def comments(text: str) -> list[str]:
    return [found.rstrip() for found in re.findall(r"#[^\n]*", re.sub(r'"[^"\n]*"', "", text))]


def check(text: str) -> None:
    once = formatted(text)
    assert formatted(once) == once
    assert shape(tree(once)) == shape(tree(text))
    assert comments(once) == comments(text)
    assert not any(line != line.rstrip() for line in once.splitlines())
    assert "\n\n\n" not in once
    assert once == "" or (once.endswith("\n") and not once.endswith("\n\n") and once[0] != "\n")


@given(programs())
def test_same_tree_same_comments_and_idempotent(text):
    check(text)


@pytest.mark.parametrize("name", DESIGN)
def test_programs_of_the_design(name):
    check(DESIGN[name])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("flow x=a+b*-c", "flow x = a + b * -c"),
        ("flow x = - a**- 2", "flow x = -a ** -2"),
        ("flow x = ( a ) * f ( b,c ,d = 3 )", "flow x = (a) * f(b, c, d = 3)"),
        ("flow x = a->b [ 0 ]->c", "flow x = a -> b[0] -> c"),
        ("flow x = f(a,)", "flow x = f(a)"),
        ("level  a [3]=b repeat 2{learn c}", "level a[3] = b repeat 2 { learn c }"),
        ("level a = b { learn c  read before }", "level a = b { learn c   read before }"),
        ("level a = b {  }", "level a = b {}"),
        ("level a = b {\n learn c read before }", "level a = b {\n  learn c\n  read before\n}"),
        ("input ids (256)", "input ids(256)"),
        ("flow x = a +\nb", "flow x = a +\n  b"),
        ("flow x = f(\na,\nb\n)", "flow x = f(\n  a,\n  b\n)"),
        ("flow x = a ->\nf(\nb) -> g", "flow x = a ->\n  f(\n    b) -> g"),
        ("flow x = a # why  ", "flow x = a  # why"),
        ("flow x = a\n\n\n\n# b\nflow y = c", "flow x = a\n\n# b\nflow y = c"),
        ("\n\nflow x = a\n\n", "flow x = a"),
        ("only  matrices\telse  sgd(lr=x,)", "only matrices else sgd(lr = x)"),
        ("only matrices else sgd # why", "only matrices else sgd  # why"),
        ("level a = b { # c\n learn d }", "level a = b {  # c\n  learn d\n}"),
        ("level a = b {\n learn d\n\n # e\n}", "level a = b {\n  learn d\n\n  # e\n}"),
    ],
)
def test_layout(written, expected):
    assert body(written) == expected


def test_clauses_too_long_for_one_line_are_split():
    clauses = "every 1 token, chunk 16   optimizer gd(step = step, retain = retain)"
    fits = f"level {'a' * (LINE_LENGTH - 2 - len(clauses) - 15)} = b {{ {clauses} }}"
    assert body(fits) == fits
    assert body(fits.replace(" = b", "a = b")).count("\n") == 3


def test_an_empty_file_stays_empty():
    assert formatted("") == ""
    assert formatted("\ufeff \n\n") == ""
    assert formatted("# alone") == "# alone\n"


def test_a_broken_program_is_not_formatted():
    with pytest.raises(NestError) as raised:
        formatted("block b {")
    assert [diagnostic.code for diagnostic in raised.value.diagnostics] == ["N0002"]
