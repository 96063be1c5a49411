"""The phase of values: each parameter is evaluated when it is first asked for, and once."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostic, Diagnostics
from nestdsl.semantics.constants import UNKNOWN
from nestdsl.semantics.modules import read_modules
from nestdsl.semantics.names.program import declare_program
from nestdsl.semantics.values.overrides import Override
from nestdsl.semantics.values.parameters import FileParameters, evaluate_parameters
from nestdsl.semantics.values.settings import read_settings
from nestdsl.source import Source

PROGRAM = """
param base = 4
param twice = base * 2
param wrong = 1 / 0
param a = b
param b = a
model m(dim = twice, wide = dim + base) { flow out = in }
"""


class Evaluated:
    """The parameters of PROGRAM, with some of them set from outside."""

    def __init__(self, **overrides: Override) -> None:
        self._found = Diagnostics()
        self.program = declare_program(read_modules(Source(PROGRAM), self._found), None, self._found)
        self.parameters: FileParameters = evaluate_parameters(self.program, overrides, self._found)

    def value(self, name: str) -> object:
        return self.parameters.lookup(self.program.module, self.program.module.names[name].name)

    @property
    def found(self) -> tuple[Diagnostic, ...]:
        return self._found.in_order()

    def of_model(self) -> dict[str, object]:
        return dict(self.parameters.of_model(self.program.module, self.program.models[0]))


def test_a_value_is_found_when_it_is_asked_for() -> None:
    evaluated = Evaluated()
    assert evaluated.found == () and evaluated.value("twice") == 8
    assert evaluated.found == (), "what is wrong elsewhere is not looked at"


def test_a_mistake_is_told_once_and_its_value_is_unknown() -> None:
    evaluated = Evaluated()
    assert [evaluated.value("wrong") for _ in range(3)] == [UNKNOWN] * 3
    assert [one.code for one in evaluated.found] == ["N0203"]


def test_parameters_in_a_circle_are_unknown_and_told_once() -> None:
    evaluated = Evaluated()
    assert evaluated.value("a") is UNKNOWN and evaluated.value("b") is UNKNOWN
    assert [(one.code, "`a` needs `b` needs `a`" in one.message) for one in evaluated.found] == [
        ("N0301", True)
    ]


def test_parameters_of_a_model_may_name_those_before_them() -> None:
    assert Evaluated().of_model() == {"dim": 8, "wide": 12}


def test_what_is_set_from_outside_takes_the_place_of_the_default() -> None:
    evaluated = Evaluated(base=3, dim=5)
    assert evaluated.value("twice") == 6
    assert evaluated.of_model() == {"dim": 5, "wide": 8}
    assert Evaluated(**read_settings(["dim=base * 10"])).of_model() == {"dim": 40, "wide": 44}


def test_what_cannot_be_set_is_told_at_once_and_changes_nothing() -> None:
    evaluated = Evaluated(bsae=3, base=float("inf"))
    assert [one.code for one in evaluated.found] == ["N0106", "N0203"]
    assert evaluated.value("base") == 4
