"""Every rule of the grammar, and what its nodes hold."""

import json
import re

import lark
import pytest
from hypothesis import given, settings
from lark import Lark, UnexpectedInput

from nestdsl.source import Source
from nestdsl.syntax import ast, grammar
from nestdsl.syntax.grammar import from_text, grammar_path, language, tables, tables_path
from nestdsl.syntax.parser import parse
from tests.syntax.programs import DESIGN, clauses, expression, programs, shape, statement, tree


def text_of(node: ast.Expression) -> str:
    """An expression with all its parentheses."""
    match node:
        case ast.Number(value) | ast.String(value) | ast.Boolean(value):
            return str(value)
        case ast.Name(text):
            return text
        case ast.Index(name, index):
            return f"{name.text}[{text_of(index)}]"
        case ast.Call(function, arguments):
            inner = ((f"{a.name.text}=" if a.name else "") + text_of(a.value) for a in arguments)
            return f"{function.text}({', '.join(inner)})"
        case ast.Unary(operator, operand):
            return f"({operator}{text_of(operand)})"
        case ast.Binary(operator, left, right):
            return f"({text_of(left)} {operator} {text_of(right)})"
        case ast.Pipe(stages):
            return "(" + " -> ".join(text_of(stage) for stage in stages) + ")"


@pytest.mark.parametrize("name", DESIGN)
def test_programs_of_the_design(name):
    assert tree(DESIGN[name]).declarations


def test_the_parts_of_hope():
    titans, optim, block, model = tree(DESIGN["hope"]).declarations
    assert isinstance(titans, ast.Use)
    assert (titans.module, titans.is_path) == ("std.titans", False)
    assert optim.module == "std.optim"
    assert isinstance(block, ast.Block)
    assert [(p.name.text, p.default.value) for p in block.parameters] == [("heads", 4), ("segment", 512)]
    assert [type(s).__name__ for s in block.body] == ["Level", "Level", "Flow", "Flow"]
    cms = block.body[1]
    assert (cms.name.text, cms.count.value, cms.kind.function.text) == ("cms", 3, "mlp")
    every, optimizer = cms.clauses
    assert text_of(every.count) == "(segment * (4 ** index))"
    assert every.unit.text == "tokens"
    assert optimizer.call.arguments[0].value.value == 0.01
    assert isinstance(model, ast.Model)
    assert [type(s).__name__ for s in model.body] == ["Input", "Level", "Level", "Level", "Flow", "Train"]
    assert model.body[2].repeat.text == "depth"
    assert [type(c).__name__ for c in model.body[5].clauses] == ["Objective", "Every", "OptimizerClause"]


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("a + b * c", "(a + (b * c))"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b * c", "((a / b) * c)"),
        ("2 ** 3 ** 2", "(2 ** (3 ** 2))"),
        ("-x ** 2", "(-(x ** 2))"),
        ("2 ** -x ** 2", "(2 ** (-(x ** 2)))"),
        ("-a * b", "((-a) * b)"),
        ("a - -b", "(a - (-b))"),
        ("--a", "(-(-a))"),
        ("a -> b + c -> d", "(a -> (b + c) -> d)"),
        ("(a -> b) -> c", "((a -> b) -> c)"),
        ("a -> (b -> c)", "(a -> (b -> c))"),
        ("(a + b) * c", "((a + b) * c)"),
        ("((a))", "a"),
        ("f(a -> b, n = c -> d)", "f((a -> b), n=(c -> d))"),
        ("f()", "f()"),
        ("f(a, b,)", "f(a, b)"),
        ("a[i + 1] * b[0]", "(a[(i + 1)] * b[0])"),
        ("true + false", "(True + False)"),
        ('"a # b"', "a # b"),
        ("a->b", "(a -> b)"),
        ("a-b", "(a - b)"),
        ("a**b*c", "((a ** b) * c)"),
        ("read + init -> flow -> level", "((read + init) -> flow -> level)"),
    ],
)
def test_what_binds_tighter(written, means):
    assert text_of(expression(written)) == means


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", 0),
        ("1_000", 1000),
        ("9" * 40, int("9" * 40)),
        ("1.0", 1.0),
        ("1e3", 1000.0),
        ("2.5E-1", 0.25),
        ("1_0.0_1", 10.01),
        ("1e-999", 0.0),
    ],
)
def test_numbers(written, value):
    number = expression(written)
    assert number.value == value
    assert type(number.value) is type(value)


def test_every_clause():
    x = ("Name", ("str", "x"))
    for written, expected in {
        "learn x": ast.Learn,
        "learn x -> x": ast.Learn,
        "objective l2": ast.Objective,
        "every 4 tokens": ast.Every,
        "optimizer gd(step = 1)": ast.OptimizerClause,
        "init zeros": ast.Init,
        "init from x": ast.Init,
        "reset context": ast.Reset,
        "gradient truncated(4)": ast.Gradient,
        "read after": ast.Read,
        "frozen": ast.Frozen,
    }.items():
        (found,) = clauses(written)
        assert type(found) is expected
    (learn,) = clauses("learn x")
    assert (shape(learn.key), learn.value) == (x, None)
    (learn,) = clauses("learn a + b -> x * 2")
    assert (text_of(learn.key), text_of(learn.value)) == ("(a + b)", "(x * 2)")
    (learn,) = clauses("learn (a -> b) -> x")
    assert text_of(learn.key) == "(a -> b)"
    (init,) = clauses("init from x[2]")
    assert (init.call, text_of(init.origin)) == (None, "x[2]")
    (init,) = clauses('init from "w.safetensors:key"')
    assert init.origin.value == "w.safetensors:key"
    (init,) = clauses("init normal(0.02)")
    assert (text_of(init.call), init.origin) == ("normal(0.02)", None)


@pytest.mark.parametrize(
    ("written", "count", "unit", "chunk"),
    [
        ("every 16 tokens", "16", "tokens", None),
        ("every n", "n", None, None),
        ("every n parsecs", "n", "parsecs", None),
        ("every 2 * n step", "(2 * n)", "step", None),
        ("every (4) tokens, chunk chunk", "4", "tokens", "chunk"),
        ("every chunk chunk, chunk chunk + 1", "chunk", "chunk", "(chunk + 1)"),
        ("every f(4) tokens", "f(4)", "tokens", None),
    ],
)
def test_every(written, count, unit, chunk):
    (every,) = clauses(written)
    assert text_of(every.count) == count
    assert (every.unit and every.unit.text) == unit
    assert (every.chunk and text_of(every.chunk)) == chunk


def test_clauses_share_a_line_and_a_missing_unit_is_no_clause():
    found = clauses("every 16 optimizer gd init zeros")
    assert [type(clause).__name__ for clause in found] == ["Every", "OptimizerClause", "Init"]
    assert found[0].unit is None


def test_keywords_are_names_where_they_cannot_stand():
    level = statement("level repeat = repeat repeat repeat")
    assert (level.name.text, level.kind.function.text, level.repeat.text) == ("repeat", "repeat", "repeat")
    flow = statement("flow flow = level -> train(read = from)")
    assert flow.name.text == "flow"
    (block,) = tree("block block(block = 1) { }").declarations
    assert (block.name.text, block.parameters[0].name.text) == ("block", "block")
    (learn,) = clauses("learn learn -> read")
    assert (learn.key.text, learn.value.text) == ("learn", "read")


@pytest.mark.parametrize(
    "text",
    [
        "flow x = a +\n b",
        "flow x =\n a",
        "flow x = a ->\n\n # why\n b",
        "flow x = f(\n a,\n\n b # c\n)",
        "flow x = (a\n + b)",
        "flow x = a[\n0\n]",
        "level a = b {\n learn x ->\n y\n every 1 token,\n chunk 2 }",
    ],
)
def test_lines_that_go_on(text):
    assert statement(text)


@pytest.mark.parametrize(
    "text", ["flow x = a\n + b", "flow x\n = a", "level a = b\n { frozen }", "flow x = a flow y = b"]
)
def test_lines_that_end(text):
    with pytest.raises(UnexpectedInput):
        language().parse("block b {\n" + text + "\n}")


@settings(max_examples=30)
@given(programs())
def test_the_grammar_file_alone_reads_them_too(text):
    assert from_text(grammar_path().read_text("utf-8")).parse(text) == language().parse(text)


def test_the_tables_are_those_of_the_grammar():
    """And as many as lark makes now; the test above reads programs by both."""
    kept = json.loads(tables_path().read_text("utf-8"))
    assert kept["grammar"] == grammar_path().read_text("utf-8"), "run `python -m nestdsl.syntax.grammar`"
    if kept["lark"] != lark.__version__:
        pytest.skip("the tables are of another release of lark")
    made = json.loads(tables(kept["grammar"]))
    assert language().source_path == "<deserialized>"
    for one in (kept, made):
        one["states"] = one["data"]["parser"]["parser"].pop("states")
        one["data"]["parser"]["parser"] = {
            name: len(part) for name, part in one["data"]["parser"]["parser"].items()
        }
    assert sorted(map(len, kept.pop("states").values())) == sorted(map(len, made.pop("states").values()))
    assert kept == made


@pytest.mark.parametrize("changed", ["release of lark", "grammar"])
def test_tables_of_anything_else_are_not_used(monkeypatch, tmp_path, changed):
    text = grammar_path().read_text("utf-8")
    if changed == "grammar":
        text = text.replace("/model(", "/modell(")
        assert text != grammar_path().read_text("utf-8")
    else:
        monkeypatch.setattr(lark, "__version__", "0")
    (tmp_path / "nest.lark").write_text(text, "utf-8")
    kept = tables_path()
    monkeypatch.setattr(grammar, "tables_path", lambda: kept)
    monkeypatch.setattr(grammar, "grammar_path", lambda: tmp_path / "nest.lark")
    made = language.__wrapped__()
    made.parse("modell m {}" if changed == "grammar" else "model m {}")
    assert made.source_path != "<deserialized>"


def test_the_grammar_is_the_file_and_has_no_conflict():
    text = grammar_path().read_text(encoding="utf-8")
    Lark(text, parser="lalr", lexer="contextual", strict=False, maybe_placeholders=True)
    assert {rule.origin.name for rule in language().rules} >= {"start", "block", "level", "pipe", "clauses"}


def test_a_keyword_ends_where_a_name_would():
    """`flowx = in` was once read as `flow x = in`."""
    keywords = re.findall(r"^([A-Z]+)\.1: /([a-z]+)", grammar_path().read_text("utf-8"), re.MULTILINE)
    assert len(keywords) >= 25
    for _, word in keywords:
        for line in (f"{word}s x = in", f"{word}x(8)", f"level a = mlp {{ {word}s 1 steps }}"):
            assert parse(Source("model m {\n  " + line + "\n}"))[1], line
