# ruff: noqa: E501 (a mistake, its report and what is left stand on one line)
"""One mistake, one diagnostic, and everything around it in the tree."""

import pytest

from nestdsl.syntax import ast
from tests.syntax.programs import HOPE, read


def name_of(node) -> str | None:
    name = getattr(node, "name", None)
    return name.text if isinstance(name, ast.Name) else name


def outline(program: ast.Program) -> list[str]:
    """`block b`, `  level x`, with `broken` for what could not be read."""
    lines = []
    for declaration in program.declarations:
        lines.append(f"{type(declaration).__name__.lower()} {name_of(declaration) or '-'}")
        for statement in getattr(declaration, "body", ()):
            inner = " ".join(type(clause).__name__.lower() for clause in getattr(statement, "clauses", ()))
            lines.append(f"  {type(statement).__name__.lower()} {name_of(statement) or '-'} {inner}".rstrip())
    return lines


def reports(text: str) -> list[str]:
    """`line:column code message` for each diagnostic."""
    _, found = read(text)
    return [f"{d.span.line}:{d.span.column} {d.code} {d.message}" for d in found]


def in_body(text: str) -> tuple[list[str], list[str]]:
    text = "block b {\n" + text + "\n  flow last = in\n}\nblock c { }"
    program, _ = read(text)
    lines = outline(program)
    assert lines[0] == "block b"
    assert lines[-2:] == ["  flow last", "block c"]
    return [line.strip() for line in lines[1:-2]], reports(text)


FOUR = """\
use std.titans

block hope_layer(heads = 4) {
  levl titans = self_referential(heads)
  level cms[3] = mlp(expand = 4) {
    every segment * tokens tokens tokens
    optimizer gd(step = 1e-2)
  }
  flow h = in + (in -> titans
  flow out = h + (h -> cms)
}

model hope(dim = 256) {
  input ids(vocab)
  level embed = embedding(dim)
  flow out = in
    -> embed
}
"""


def test_four_mistakes_give_four_diagnostics_and_a_tree():
    assert reports(FOUR) == [
        "4:3 N0001 `levl` does not begin a statement",
        "6:35 N0001 expected a clause, `,` or the end of the line after `tokens`, found `tokens`",
        "9:17 N0002 this `(` is not closed",
        "17:5 N0001 `->` cannot start a line: end the line before with `->`",
    ]
    program, found = read(FOUR)
    assert outline(program) == [
        "use -",
        "block hope_layer",
        "  broken titans",
        "  level cms broken optimizerclause",
        "  broken h",
        "  flow out",
        "model hope",
        "  input -",
        "  level embed",
        "  broken out",
        "  broken -",
    ]
    assert found[0].hint == "did you mean `level`?"


@pytest.mark.parametrize(
    ("line", "report", "left"),
    [
        ("  level = linear", "2:9 N0001 expected a name after `level`, found `=`", "broken -"),
        ("  level", "2:3 N0001 expected a name after `level`", "broken -"),
        ("  flow x", "2:8 N0001 expected `=` after `x`", "broken x"),
        ("  flow x =", "2:10 N0001 expected an expression after `=`", "broken x"),
        ("  flow x = a +", "2:14 N0001 expected an expression after `+`", "broken x"),
        ("  flow x = a + + b", "2:16 N0001 expected an expression after `+`, found `+`", "broken x"),
        ("  flow x = f(a b)", "2:14 N0001 missing `,` between arguments", "broken x"),
        ("  flow x = f(a", "2:13 N0002 this `(` is not closed", "broken x"),
        ("  flow x = f(a,", "2:13 N0002 this `(` is not closed", "broken x"),
        ("  flow x = f(a]", "2:15 N0001 expected `)`, found `]`", "broken x"),
        ("  flow x = a)", "2:13 N0001 expected the end of the line after `a`, found `)`", "broken x"),
        ('  use "a', '2:3 N0001 `use` stands at the top of a file, not inside a body', "broken -"),
        ('  flow x = "a', "2:12 N0002 this string is not closed", "broken x"),
        ("  flow x = 4x", "2:12 N0001 `4x` is neither a number nor a name", "broken x"),
        ("  flow x = a $ b", "2:14 N0001 `$` has no meaning here", "broken x"),
        ("  flow \u03bb = a", "2:8 N0001 `\u03bb` cannot stand in a name", "broken -"),
        ("  flow x = \0", "2:12 N0001 the character U+0000 has no meaning here", "broken x"),
        ("  flow true = a", "2:8 N0001 `true` is a value and cannot be a name", "broken true"),
        ("  foo bar", "2:3 N0001 `foo` does not begin a statement", "broken bar"),
        ("  level x = y foo", "2:15 N0001 expected `{`, `repeat` or the end of the line after `y`, found `foo`", "broken x"),
        ("  level x = y {\n    lern z\n    read after\n  }", "3:5 N0001 `lern` does not begin a clause", "level x broken read"),
        ("  level x = y { learn  read after }", "2:29 N0001 expected an operator, a clause or the end of the line after `read`, found `after`", "level x broken"),
        ("  block d {\n    flow x = in\n  }", "2:3 N0001 `block` stands at the top of a file, not inside a body", "broken d"),
        ("  level x = y { learn z) read after }", "2:24 N0001 expected an operator, a clause or the end of the line after `z`, found `)`", "level x broken read"),
        ("  level x = y { optimizer gd(1 init zeros }", "2:29 N0002 this `(` is not closed", "level x broken init"),
        ("  level x = y { every 1 token chunk 4 frozen }", "2:31 N0001 missing `,` before `chunk`", "level x broken frozen"),
        ("  level x = y { frozen } foo", "2:26 N0001 expected the end of the line, found `foo`", "level x frozen"),
        ("  level x y {\n    frozen\n  }", "2:11 N0001 expected `=` after `x`, found `y`", "broken x"),
        ("  flow x = a {\n    frozen\n  }", "2:14 N0001 expected the end of the line after `a`, found `{`", "broken x"),
        ("  flow x = a {", "2:14 N0001 expected the end of the line after `a`, found `{`", "broken x"),
        ("  default", "2:3 N0001 expected `{` after `default`", "broken -"),
        ("  train\n    objective mse\n  }", "2:8 N0001 expected `{` at the end of this line: it opens the clauses of the `train`", "train - objective"),
        ("  default\n  {\n    frozen\n  }", "3:3 N0001 the opening `{` stands on the line of its default", "default - frozen"),
    ],
)  # fmt: skip
def test_one_mistake_in_a_body(line, report, left):
    found, said = in_body(line)
    assert said == [report]
    assert found == [left]


def test_two_statements_on_a_line_are_both_read():
    found, said = in_body("  flow x = a flow y = b")
    assert said == ["2:14 N0001 expected the end of the line, found `flow`"]
    assert found == ["flow x", "flow y"]


def test_clauses_without_their_brace():
    found, said = in_body("  level x = y\n    every 4 tokens\n    frozen\n  }")
    assert said == [
        "3:5 N0001 `every` is a clause: it stands in the `{ }` of a level, of `default` or of `train`"
    ]
    assert found == ["level x", "broken -"]


def test_clauses_whose_brace_is_on_the_next_line():
    found, said = in_body("  level x = y\n  {\n    lern z\n  }")
    assert said == [
        "3:3 N0001 the opening `{` stands on the line of its level",
        "4:5 N0001 `lern` does not begin a clause",
    ]
    assert found == ["level x", "broken -"]


def test_clauses_that_are_not_closed():
    found, said = in_body("  level x = y {\n    every 4 tokens")
    assert said == ["2:15 N0002 this `{` is not closed"]
    assert found == ["level x every broken"]


def test_a_body_that_is_not_closed_before_the_next_declaration():
    for following in ("block c { }", "model c { }", "optimizer c(lr = 1) { }", "use c", "param c = 1"):
        text = "block b {\n  level x = y {\n    frozen\n  }\n\n" + following
        program, (diagnostic,) = read(text)
        assert (diagnostic.code, diagnostic.span.line, diagnostic.span.column) == ("N0002", 1, 9)
        assert diagnostic.notes[0].span.line == 6
        assert "`}`" in diagnostic.hint
        assert len(program.declarations) == 2
        assert outline(program)[1] == "  level x frozen"
        assert outline(program)[2] == "  broken -"  # what else the block was to have


def test_braces_that_are_not_closed_before_an_optimizer():
    text = "block b {\n  level x = y {\n    frozen\n\noptimizer c(lr = 1) {\n  flow update = lr\n}"
    assert reports(text) == ["1:9 N0002 2 `{` are not closed"]
    program, (diagnostic,) = read(text)
    assert [note.span.line for note in diagnostic.notes] == [2, 5]
    assert diagnostic.hint == "write the missing `}}` before `optimizer`"
    assert outline(program) == [
        "block b",
        "  level x frozen broken",
        "  broken -",
        "optimizer c",
        "  flow update",
    ]


@pytest.mark.parametrize("end", ["", "\n", "  # the end", "\n\n  "])
def test_a_body_that_is_not_closed_at_the_end(end):
    text = "block b {\n  flow x = in" + end
    assert reports(text) == ["1:9 N0002 this `{` is not closed"]
    assert outline(read(text)[0]) == ["block b", "  flow x", "  broken -"]


def test_a_brace_too_many():
    text = "block b {\n  flow x = in\n}\n}\nblock c { }"
    assert reports(text) == ["4:1 N0001 this `}` closes nothing"]
    assert outline(read(text)[0]) == ["block b", "  flow x", "broken -", "block c"]


def test_a_body_closed_too_early_is_one_mistake():
    text = "block b {\n  flow x = in\n  }\n  flow y = x\n  level z = y {\n    frozen\n  }\n}\nblock c { }"
    assert reports(text) == ["4:3 N0001 `flow` stands inside a `block`, an `optimizer` or a `model`"]
    assert outline(read(text)[0]) == ["block b", "  flow x", "broken -", "block c"]


@pytest.mark.parametrize(
    ("written", "report"),
    [
        ("only", "2:3 N0001 expected `matrices` after `only`"),
        ("only matrices", "2:8 N0001 expected `else` after `matrices`"),
        ("only matrices else", "2:17 N0001 expected an optimizer after `else`"),
        ("only else sgd", "2:13 N0001 expected `matrices` after `only`"),
        ("only(matrices) else sgd", "2:7 N0001 expected `matrices` after `only`, found `(`"),
        ("only matrices, else sgd", "2:16 N0001 expected `else` after `matrices`, found `,`"),
        ("only matrices sgd", "2:17 N0001 expected `else` after `matrices`, found `sgd`"),
        ("only matrices else sgd adam", "2:26 N0001 expected the end of the line after `sgd`, found `adam`"),
        ("only matrices else sgd(lr = )", "2:31 N0001 expected an expression after `=`, found `)`"),
    ],
)
def test_what_an_optimizer_drives_is_one_phrase(written, report):
    text = f"optimizer o {{\n  {written}\n  flow update = grad\n}}\nblock c {{ }}"
    assert reports(text) == [report]
    first, broken, *rest = outline(read(text)[0])
    assert (first, rest) == ("optimizer o", ["  flow update", "block c"])
    assert broken.startswith("  broken")


def test_a_header_without_its_brace():
    text = "model m(a = 1)\n  flow x = in\n  flow y = x\n}\nblock c { }"
    assert reports(text) == [
        "1:15 N0001 expected `{` at the end of this line: it opens the body of the `model`"
    ]
    assert outline(read(text)[0]) == ["model m", "  flow x", "  flow y", "block c"]


def test_a_header_whose_brace_is_on_the_next_line():
    text = "model m\n\n{\n  flow x = in\n}"
    assert reports(text) == ["3:1 N0001 the opening `{` stands on the line of its model"]
    assert outline(read(text)[0]) == ["model m", "  flow x"]


@pytest.mark.parametrize(
    ("header", "report"),
    [
        ("blok b {", "1:1 N0001 `blok` does not begin a declaration"),
        ("block b(n 4) {", "1:9 N0001 missing `=` between a parameter and its value"),
        ("block b(n = 4 {", "1:8 N0002 this `(` is not closed"),
        ("block b c {", "1:9 N0001 expected `{` after `b`, found `c`"),
    ],
)
def test_a_broken_header_still_opens_its_body(header, report):
    text = header + "\n  flow x = = 1\n}\nblock c { }"
    assert reports(text) == [report, "2:12 N0001 expected an expression after `=`, found `=`"]
    assert outline(read(text)[0]) == ["broken b", "block c"]


@pytest.mark.parametrize(
    ("sign", "hint"),
    [
        ("\u2192", "write `->`"),
        ("=>", "write `->`"),
        ("|>", "write `->`"),
        (">", "there are no comparisons"),
        ("<", "there are no comparisons"),
        (">=", "there are no comparisons"),
        ("==", "there are no comparisons"),
        ("\u2264", "there are no comparisons"),
        ("^", "write `**`"),
        ("\u2212", "write `-`"),
        ("\u00d7", "write `*`"),
    ],
)
def test_signs_that_are_meant_for_others(sign, hint):
    _, (diagnostic,) = read(f"param x = a {sign} b")
    assert diagnostic.hint.partition(":")[0] == hint
    assert diagnostic.span.text == sign


@pytest.mark.parametrize(
    ("word", "keyword"), [("Level", "level"), ("flwo", "flow"), ("defualt", "default"), ("inptu", "input")]
)
def test_near_misses_of_keywords(word, keyword):
    _, (diagnostic,) = read(f"block b {{\n  {word} x = y\n}}")
    assert diagnostic.hint == f"did you mean `{keyword}`?"


@pytest.mark.parametrize("sign", ["->", "+", "-", "*", "/", "**", ",", "="])
def test_signs_that_cannot_start_a_line(sign):
    found, said = in_body(f"  flow x = a\n    {sign} b")
    assert said == [f"3:5 N0001 `{sign}` cannot start a line: end the line before with `{sign}`"]
    assert found == ["broken x", "broken -"]  # what the first line says is not all


@pytest.mark.parametrize(
    ("line", "report", "hint"),
    [
        ("flow x = in -> nn.Linear(64, 256)", "2:18 N0001 names have no prefix here", "write `linear(256)`"),
        ("flow x = in -> torch.nn.functional.silu", "2:18 N0001 names have no prefix here", "write `silu`"),
        ("level x = nn.LayerNorm(64)", "2:13 N0001 names have no prefix here", "write `layer_norm`"),
        ("level x = nn.RMSNorm", "2:13 N0001 names have no prefix here", "write `rms_norm`"),
        (
            "flow x = in + .5",
            "2:17 N0001 expected an expression after `+`, found `.`",
            "write `0.5`: a number begins with a digit",
        ),
        (
            "train { objective = mse  every 1 step }",
            "2:21 N0001 a clause has no `=`: `objective` stands right before what it says",
            "write `objective mse`",
        ),
        (
            "level x = y { every: 4 steps }",
            "2:22 N0001 a clause has no `:`: `every` stands right before what it says",
            "write `every 4 steps`",
        ),
        (
            "level x = y { every 1 token, chunk = 4  read after }",
            "2:38 N0001 a clause has no `=`: `chunk` stands right before what it says",
            "write `, chunk 4`",
        ),
        (
            "input = ids(256)",
            "2:9 N0001 a statement has no `=`: `input` stands right before what it says",
            "write `input ids(256)`",
        ),
        (
            "level x = y { optimizer adamw(lr: 1) }",
            "2:35 N0001 `:` has no meaning here",
            "write `=`",
        ),
        (
            "level x = y { optimizer adamw(betas = (0.9, 0.99)) }",
            "2:33 N0001 an argument has one value",
            "write `beta1 = 0.9, beta2 = 0.99`",
        ),
    ],
)
def test_what_other_languages_write(line, report, hint):
    _, (diagnostic,) = read("block b {\n  " + line + "\n}")
    assert in_body("  " + line)[1] == [report]
    assert diagnostic.hint == hint


@pytest.mark.parametrize(
    ("text", "place", "left"),
    [
        ("  // it's a (comment {\n  flow x = in", "2:3", ["flow x"]),
        ("  flow x = in // it's a (comment {\n  flow y = x", "2:15", ["flow x", "flow y"]),
        ("  flow x = in -> // one\n    silu", "2:18", ["flow x"]),
        ("  level x = y { // one\n    frozen\n  }", "2:17", ["level x frozen"]),
        ("  level x = y {\n    every 4 steps // one\n  }", "3:19", ["level x every"]),
        ("  level x = y( // it's (one\n    3\n  )\n  flow y = x", "2:16", ["broken x", "flow y"]),
    ],
)
def test_comments_of_other_languages(text, place, left):
    found, said = in_body(text)
    assert said == [f"{place} N0001 `//` begins no comment here"]
    assert found == left
    assert read("block b {\n" + text + "\n}")[1][0].hint == "comments begin with `#`"


def test_comments_of_other_languages_around_declarations():
    text = "// one\nblock b { } // two\n// three"
    assert reports(text) == [f"{place} N0001 `//` begins no comment here" for place in ("1:1", "2:13", "3:1")]
    assert outline(read(text)[0]) == ["block b"]


def test_a_line_that_goes_on_twice_is_one_mistake():
    found, said = in_body("  flow x\n    = a\n    # why\n    -> b\n  flow y = x")
    assert said == ["2:8 N0001 expected `=` after `x`"]
    assert found == ["broken x", "flow y"]


def test_several_statements_on_a_line_are_one_mistake():
    text = "model m { input ids(4)  level a = linear  flow x = a  train { objective mse } }"
    assert reports(text) == ["1:25 N0001 expected the end of the line, found `level`"]
    assert outline(read(text)[0])[1:] == ["  input -", "  level a", "  flow x", "  train - objective"]


def test_any_one_line_left_out_of_a_program_gives_few_diagnostics():
    lines = HOPE.splitlines()
    for index in range(len(lines)):
        text = "\n".join(lines[:index] + lines[index + 1 :])
        assert len(reports(text)) <= 1, text


def test_any_one_sign_left_out_of_a_program_gives_one_diagnostic_at_most():
    for index, character in enumerate(HOPE):
        if character in "(){}[]=,":
            text = HOPE[:index] + HOPE[index + 1 :]
            assert len(reports(text)) <= 1, (HOPE[max(0, index - 30) : index + 10], reports(text))


def test_any_sign_put_into_a_program_gives_at_most_three_diagnostics():
    for index in range(0, len(HOPE), 7):
        for sign in "(){}[]=,$x\n":
            text = HOPE[:index] + sign + HOPE[index:]
            assert len(reports(text)) <= 3, (HOPE[max(0, index - 30) : index + 10], sign, reports(text))
