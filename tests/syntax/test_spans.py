"""Each node's span covers its own text."""

from dataclasses import fields, is_dataclass

import pytest

from nestdsl.source import Span
from nestdsl.syntax import ast
from tests.syntax.programs import DESIGN, clauses, expression, read, statement, tree


@pytest.mark.parametrize(
    "text",
    [
        "a",
        "12.5",
        '"text"',
        "true",
        "f(a, b = 2)",
        "a[1 + 2]",
        "-a",
        "a + b * c",
        "a -> b -> c",
        "(a + b) * c",
    ],
)
def test_an_expression_covers_its_text(text):
    assert expression(f"   {text}   # more").span.text == text


def test_parentheses_belong_to_what_they_hold():
    assert expression("(a + b)").span.text == "(a + b)"
    assert expression("(a)").span.text == "a"


def test_parts_of_statements():
    level = statement("level a[3] = mlp(4) repeat 2 {\n every 1 token, chunk 2\n}")
    assert level.span.text.startswith("level")
    assert level.span.text.endswith("}")
    assert level.name.span.text == "a"
    assert level.kind.span.text == "mlp(4)"
    assert level.clauses[0].span.text == "every 1 token, chunk 2"
    assert statement("level a = b").kind.span.text == "b"
    assert statement("flow x = a  # no").span.text == "flow x = a"
    assert statement("input ids(1)").span.text == "input ids(1)"
    assert statement("default { frozen }").span.text == "default { frozen }"


def test_parts_of_declarations():
    use, param, block = tree("use a . b # c\nparam p = 1 + 2\nblock b(n, m = 3) {\n}").declarations
    assert use.span.text == "use a . b"
    assert use.module == "a.b"
    assert param.span.text == "param p = 1 + 2"
    assert block.span.text == "block b(n, m = 3) {\n}"
    assert [parameter.span.text for parameter in block.parameters] == ["n", "m = 3"]


def test_clauses_end_where_they_end():
    spans = [clause.span.text for clause in clauses("every 4   learn a -> b   init from c  frozen")]
    assert spans == ["every 4", "learn a -> b", "init from c", "frozen"]


def test_what_is_broken_covers_its_line():
    program, _ = read("block b {\n  flow x = a b  # why\n  flow y = a\n}")
    broken = program.declarations[0].body[0]
    assert isinstance(broken, ast.Broken)
    assert broken.span.text == "flow x = a b"


def inside(node, outer: Span) -> None:
    for field in fields(node):
        value = getattr(node, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if is_dataclass(part) and not isinstance(part, Span):
                assert outer.start <= part.span.start <= part.span.end <= outer.end
                inside(part, part.span)


@pytest.mark.parametrize("name", DESIGN)
def test_spans_nest(name):
    program = tree(DESIGN[name])
    inside(program, program.span)
