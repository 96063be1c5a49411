"""Every limit of the text: just under it is read, just over it is N0004 (or N0203) with the number."""

import pytest

from nestdsl import limits
from nestdsl.syntax import ast
from tests.syntax.programs import expression, read, tree

DEEP = limits.MAX_NESTING


def only(text: str, code: str = "N0004"):
    program, (diagnostic,) = read(text)
    assert diagnostic.code == code
    return program, diagnostic


NESTED = {
    "parentheses": lambda n: "(" * n + "x" + ")" * n,
    "calls": lambda n: "f(" * n + "x" + ")" * n,
    "indices": lambda n: "a[" * n + "0" + "]" * n,
    "signs": lambda n: "-" * n + "x",
    "sums": lambda n: "x" + " + x" * n,
    "products": lambda n: "x" + " * x" * n,
    "powers": lambda n: "x" + " ** x" * n,
    "pipes in pipes": lambda n: "(a -> " * (n // 2) + "x" + ")" * (n // 2),
}


@pytest.mark.parametrize("name", NESTED)
def test_nesting(name):
    make = NESTED[name]
    expression(make(DEEP - 1))
    for depth in (DEEP + 2, 5 * DEEP, 20 * DEEP, 300 * DEEP):
        program, diagnostic = only(f"block b {{\n  flow x = {make(depth)}\n  flow y = 1\n}}")
        assert f"more than {DEEP} deep" in diagnostic.message
        broken, flow = program.declarations[0].body
        assert isinstance(broken, ast.Broken)
        assert flow.name.text == "y"


def test_a_long_pipe_and_many_arguments_are_not_deep():
    assert len(expression(" -> ".join(["x"] * 5000)).stages) == 5000
    assert len(expression(f"f({', '.join(['x'] * 5000)})").arguments) == 5000


def test_digits():
    most = limits.MAX_NUMBER_DIGITS
    assert expression("1" * most).value == int("1" * most)
    _, diagnostic = only("param x = " + "1" * (most + 1))
    assert f"at most {most} digits" in diagnostic.message
    only("param x = " + "1" * 100_000)


@pytest.mark.parametrize("number", ["1e999", "1e400", "9.9e308"])
def test_numbers_without_end(number):
    _, diagnostic = only(f"param x = {number}", "N0203")
    assert diagnostic.span.text == number


def test_names():
    most = limits.MAX_NAME_LENGTH
    tree(f"param {'a' * most} = 1")
    _, diagnostic = only(f"param {'a' * (most + 1)} = 1")
    assert f"at most {most} characters" in diagnostic.message


def test_file_size():
    most = limits.MAX_FILE_BYTES
    assert tree(" " * most).declarations == ()
    program, diagnostic = only(" " * (most + 1))
    assert program.declarations == ()
    assert f"{most:,}" in diagnostic.message


def test_words():
    most = limits.MAX_WORDS
    program, diagnostic = only("param x = f(" + "1, " * (most // 2) + "1)\n")
    assert f"{most:,} words" in diagnostic.message
    program, diagnostic = only("block b {\n" + "  flow x = 1\n" * (most // 4) + "}")
    assert len(program.declarations[0].body) > most // 6  # what was read until then stays


def test_number_of_diagnostics():
    program, found = read("block b {\n" + "  flow x = = 1\n" * (2 * limits.MAX_DIAGNOSTICS) + "}")
    assert len(found) == limits.MAX_DIAGNOSTICS + 1
    assert found[-1].code == "N0004"
    assert str(limits.MAX_DIAGNOSTICS) in found[-1].message
    assert len(program.declarations[0].body) == limits.MAX_DIAGNOSTICS + 1  # and what is not read
