"""The elaborator of flows that models and optimizers share: with a target that writes text, and with both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from nestdsl.compiler import analyse
from nestdsl.diagnostics import Diagnostic, Diagnostics
from nestdsl.graph.nodes import Operation
from nestdsl.semantics.constants import UNKNOWN, Constant, Unknown
from nestdsl.semantics.elaborate.expressions import FlowElaborator, Result
from nestdsl.semantics.values.arithmetic import fold
from nestdsl.source import Source, Span
from nestdsl.syntax import ast
from nestdsl.syntax.parser import parse
from nestdsl.vocabulary.signatures import Function, Value
from tests.semantics.programs import graph


@dataclass(frozen=True)
class Text:
    """A flow, as its own text."""

    written: str


class Texts(FlowElaborator[Text]):
    """Every name is a flow; an operation becomes its name with its operands."""

    example = "x"

    def operation(
        self,
        function: str,
        operands: Sequence[Text | int | float],
        span: Span,
        options: tuple[tuple[str, Value], ...] = (),
    ) -> Text:
        parts = [one.written if isinstance(one, Text) else f"{one:g}" for one in operands]
        parts += [f"{name}={value}" for name, value in options]
        return Text(f"{function}({', '.join(parts)})")

    def constant(self, expression: ast.Expression) -> Constant | Unknown:
        return fold(expression, lambda name: UNKNOWN, self.diagnostics)

    def literal(self, literal: ast.String | ast.Boolean) -> Constant:
        return literal.value

    def name(self, name: ast.Name) -> Result[Text]:
        return UNKNOWN if name.text == "unknown" else Text(name.text)

    def element(self, index: ast.Index) -> Text:
        return Text(index.span.text)

    def answer(self, call: ast.Call, piped: Result[Text] | None, before: Span) -> Result[Text] | None:
        return None

    def takes(self, function: Function, call: ast.Call, is_piped: bool) -> bool:
        return True

    def no_stage(self, piped: Result[Text], stage: ast.Expression, before: Span) -> Text:
        return Text(f"<{before.text} into {stage.span.text}>")


def elaborated(text: str) -> tuple[Result[Text], tuple[Diagnostic, ...]]:
    program, _ = parse(Source(f"param value = {text}\n"))
    (declaration,) = program.declarations
    assert isinstance(declaration, ast.Param)
    found = Diagnostics()
    return Texts(found).expression(declaration.value), found.in_order()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("x + y * z", "add(x, multiply(y, z))"),
        ("-x ** 2", "negate(power(x, 2))"),
        ("x - -y / 2", "subtract(x, divide(negate(y), 2))"),
        ("x -> silu -> softmax(heads = 2)", "softmax(silu(x), heads=2)"),
        ("concat(x -> silu, y)", "concat(silu(x), y)"),
        ("x -> concat(y)", "concat(x, y)"),
        ("2 * 3 * x", "multiply(6, x)"),
        ("x * (2 ** 3 - 7)", "multiply(x, 1)"),
        ("x * sqrt(16)", "multiply(x, 4)"),
        ("a[1] + x", "add(a[1], x)"),
        ("x -> 3", "<x into 3>"),
        ("x -> silu -> y + z", "<x -> silu into y + z>"),
    ],
)
def test_what_is_common_to_all_flows(text: str, written: str) -> None:
    assert elaborated(text) == (Text(written), ())


def test_numbers_alone_are_computed_now() -> None:
    assert elaborated("2 + 3 * 4") == (14, ())
    assert elaborated("-sqrt(16)") == (-4, ())


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("x + true", ["N0104"]),
        ('silu("a")', ["N0104"]),
        ('concat(true, "a", x)', ["N0104", "N0104"]),
        ("softmax(true, heads = 0.5)", ["N0104", "N0202"]),
        ("softmax(x, rows = 2)", ["N0103"]),
        ("x * (1 / 0)", ["N0203"]),
        ("unknown + unknown * x", []),
        ("unknown -> silu", []),
        ("unknown + (x + true)", ["N0104"]),
    ],
)
def test_a_mistake_is_told_once_and_its_result_is_unknown(text: str, codes: list[str]) -> None:
    result, found = elaborated(text)
    assert result is UNKNOWN
    assert [one.code for one in found] == codes
    assert all(one.hint for one in found)


# --- the two that it is made for -----------------------------------------------------------

MODEL = "model m {{\n  input vectors(8)\n  flow out = {}\n}}\n"
OPTIMIZER = (
    "optimizer o {{\n  flow update = {}\n}}\n"
    "model m {{\n  input vectors(8)\n  flow out = in -> linear\n  train {{ optimizer o }}\n}}\n"
)


@pytest.mark.parametrize(
    "text",
    [
        "x + 2",
        "2 * x - x / 4",
        "-x ** 2",
        "sqrt(abs(x)) * 3",
        "x -> tanh",
        "x -> abs -> sqrt",
        "x * (2 ** 3)",
    ],
)
def test_the_same_operations_in_a_model_and_in_an_optimizer(text: str) -> None:
    model = graph(MODEL.format(text.replace("x", "in")))
    optimizer = graph(OPTIMIZER.format(f"-({text.replace('x', 'grad')})")).train.optimizer.program
    assert optimizer is not None
    in_model = [(node.function, len(node.operands)) for node in model.nodes(Operation)]
    in_optimizer = [(line.function, len(line.operands)) for line in optimizer.lines]
    assert [*in_model, ("negate", 1)] == in_optimizer


@pytest.mark.parametrize("text", ["x * (1 / 0)", "x + 9 ** 999", "tanh(x, heads = 2)", "sqrt(0 - 1) * x"])
def test_the_same_mistakes_in_a_model_and_in_an_optimizer(text: str) -> None:
    def found(program: str, flow: str) -> list[tuple[str, str, str]]:
        diagnostics = analyse(Source(program.format(text.replace("x", flow)))).diagnostics
        return [(one.code, one.message, one.hint) for one in diagnostics if one.is_error]

    assert found(MODEL, "in") == found(OPTIMIZER, "grad") != []
