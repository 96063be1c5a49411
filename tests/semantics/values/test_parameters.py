"""Parameters: defaults, overrides from the command line and from Python, what they can be."""

import math

import pytest

import nestdsl
from nestdsl.compiler import analyse
from nestdsl.diagnostics import NestError
from nestdsl.semantics.values.settings import read_settings
from nestdsl.source import Source
from tests.semantics.programs import analysis, graph

PROGRAM = """
param base = 4
param twice = base * 2
param kind_of = "silu"

model m(dim = twice, wide = 3 * base, deep = true) {
  input vectors(dim)
  flow out = in -> mlp(hidden = wide, activation = kind_of, bias = deep)
}
"""


def shown(text: str = PROGRAM, **given: object) -> dict[str, object]:
    return dict(graph(text, **given).parameters)


def test_defaults_may_name_what_is_before_them():
    assert shown() == {"base": 4, "twice": 8, "kind_of": "silu", "dim": 8, "wide": 12, "deep": True}


def test_an_override_reaches_everything_computed_from_it():
    assert shown(base=3) | {"kind_of": ""} == {
        "base": 3, "twice": 6, "dim": 6, "wide": 9, "deep": True, "kind_of": ""
    }  # fmt: skip
    assert shown(dim=5)["dim"] == 5
    assert shown(wide=1, deep=False, kind_of="gelu")["wide"] == 1
    (level,) = [level for level in graph(PROGRAM, deep=False, kind_of="gelu").levels() if not level.owner]
    assert dict(level.arguments)["activation"] == "gelu"
    assert dict(level.arguments)["bias"] is False


def test_a_default_cannot_name_what_comes_after_it():
    (only,) = analysis("model m(a = b, b = 2) {\n input vectors(b)\n flow out = in\n}").diagnostics
    assert (only.code, only.span and only.span.text) == ("N0101", "b")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (["dim=2*4"], {"dim": 8}),
        (["dim = 2 ** 3"], {"dim": 8}),
        (["dim=base+1"], {"dim": 5}),
        (["dim=twice", "base=6"], {"dim": 12, "base": 6}),
        (["dim=sqrt(64)"], {"dim": 8}),
        (["dim=8/2", "wide=1_0"], {"dim": 4, "wide": 10}),
        (['kind_of="gelu"', "deep=false"], {"kind_of": "gelu", "deep": False}),
    ],
)
def test_settings_are_expressions_of_the_language(settings, expected):
    found = analyse(Source(PROGRAM), read_settings(settings))
    assert not found.has_errors
    assert dict(found.graph().parameters).items() >= expected.items()


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("dmi=3", "N0106"),
        ("dim", "N0106"),
        ("", "N0106"),
        ("=3", "N0001"),
        ("dim=", "N0001"),
        ("dim=3 4", "N0001"),
        ("dim=)", "N0001"),
        ("dim=(3", "N0002"),
        ("dim=3\nparam wide=4", "N0106"),
        ("dim=nothing", "N0101"),
        ("dim=m", "N0104"),
        ("dim=in", "N0101"),
        ("dim=0.5", "N0202"),
        ("dim=-1", "N0202"),
        ('dim="8"', "N0104"),
        ("dim=1/0", "N0203"),
        ("dim=9**99", "N0004"),
        ("deep=1", "N0104"),
        ("kind_of=swish", "N0101"),
        ('kind_of="swish"', "N0203"),
    ],
)
def test_wrong_settings(setting, code):
    try:
        found = analyse(Source(PROGRAM), read_settings([setting, "base=1"])).diagnostics
    except NestError as error:
        found = error.diagnostics
    assert [diagnostic.code for diagnostic in found] == [code]


def test_an_unknown_override_names_the_nearest():
    (only,) = analysis(PROGRAM, wdie=3).diagnostics
    assert only.code == "N0106"
    assert only.hint.startswith("did you mean `wide`? Its parameters are `base`, ")
    (only,) = analysis(PROGRAM, zzz=3).diagnostics
    assert "`base`" in only.hint and "`deep`" in only.hint
    (only,) = analysis("model m {\n input vectors(2)\n flow out = in\n}", zzz=3).diagnostics
    assert only.hint == "it declares no parameters"


def test_parameters_of_used_files_and_blocks_cannot_be_set():
    text = "use std.transformer\nblock b(x = 1) { flow out = in * x }\n" + PROGRAM
    assert [diagnostic.code for diagnostic in analysis(text, x=3).diagnostics] == ["N0106"]
    assert [diagnostic.code for diagnostic in analysis(text, heads=3).diagnostics] == ["N0106"]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (math.inf, "N0203"),
        (math.nan, "N0203"),
        (2**100, "N0004"),
        ([8], "N0203"),
        (8j, "N0203"),
        (object(), "N0203"),
        (8.5, "N0202"),
        (True, "N0104"),
        ("8", "N0104"),
        (0, "N0202"),
    ],
)
def test_values_from_python(value, code):
    with pytest.raises(NestError) as raised:
        nestdsl.parse(PROGRAM, dim=value)
    assert [diagnostic.code for diagnostic in raised.value.diagnostics] == [code]


def test_a_parameter_without_a_value_must_be_set():
    text = "model m(dim) {\n input vectors(dim)\n flow out = in\n}"
    assert [diagnostic.code for diagnostic in analysis(text).diagnostics] == ["N0103"]
    assert graph(text, dim=3).sizes["out"] == 3
