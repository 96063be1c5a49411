"""The phase of names: which models of a file are elaborated, and what can be set from outside."""

from __future__ import annotations

import pytest

import nestdsl
from nestdsl.diagnostics import Diagnostic, Diagnostics, NestError
from nestdsl.limits import MAX_MODELS
from nestdsl.semantics.modules import read_modules
from nestdsl.semantics.names.program import ProgramNames, declare_program
from nestdsl.semantics.within_limits import LimitReachedError
from nestdsl.source import Source

TWO = """
param base = 4
model first(dim = base, wide = 3) { flow out = nowhere }
block b(inner = 1) { flow out = in }
model second(dim = 2, deep = true) { flow out = in }
"""

PROGRAM = """
param base = 4
param twice = base * 2
param kind_of = "silu"

model m(dim = twice, wide = 3 * base, deep = true) {
  input vectors(dim)
  flow out = in -> mlp(hidden = wide, activation = kind_of, bias = deep)
}
"""


def declared(text: str, model: str | None = None) -> tuple[ProgramNames, tuple[Diagnostic, ...]]:
    found = Diagnostics()
    module = read_modules(Source(text), found)
    return declare_program(module, model, found), found.in_order()


def names(program: ProgramNames) -> list[str]:
    return [model.name.text for model in program.models]


def test_all_models_in_the_order_of_the_file_or_the_one_that_is_named() -> None:
    program, found = declared(TWO)
    assert names(program) == ["first", "second"] and found == ()
    program, found = declared(TWO, "second")
    assert names(program) == ["second"] and found == ()


def test_parameters_that_can_be_set_are_those_of_the_file_and_of_these_models() -> None:
    assert declared(TWO)[0].parameters == ["base", "dim", "wide", "dim", "deep"]
    assert declared(TWO, "second")[0].parameters == ["base", "dim", "deep"]


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (TWO, "did you mean `second`?"),
        (TWO.replace("second", "other"), "the models are `first` and `other`"),
        ("param a = 1", "this file declares no model"),
    ],
)
def test_a_model_that_is_not_there(text: str, hint: str) -> None:
    program, (only,) = declared(text, "secnd")
    assert names(program) == []
    assert (only.code, only.hint) == ("N0101", hint)


def test_an_empty_file_is_warned_of_one_that_could_not_be_read_is_not_empty() -> None:
    _, (only,) = declared("# nothing\n")
    assert only.code == "N0303" and not only.is_error
    assert "N0303" not in [one.code for one in declared("modle m { }\n")[1]]


def test_too_many_models() -> None:
    models = [f"model m{n} {{ flow out = in }}" for n in range(MAX_MODELS + 1)]
    assert len(declared("\n".join(models[:-1]))[0].models) == MAX_MODELS
    found = Diagnostics()
    with pytest.raises(LimitReachedError):
        declare_program(read_modules(Source("\n".join(models)), found), None, found)
    assert [(one.code, one.span and one.span.line) for one in found] == [("N0004", MAX_MODELS + 1)]


def test_several_models_from_python() -> None:
    two = PROGRAM + PROGRAM[PROGRAM.index("model") :].replace("model m", "model n").replace("wide", "broad")
    with pytest.raises(NestError, match="--model"):
        nestdsl.parse(two)
    assert nestdsl.parse(two, model="n", broad=5).plan.model == "n"
    with pytest.raises(NestError, match="N0106"):
        nestdsl.parse(two, model="m", broad=5)
    with pytest.raises(NestError, match="did you mean `n`"):
        nestdsl.parse(two, model="nn")
    with pytest.raises(NestError, match="declares no model"):
        nestdsl.parse("param x = 1")
