"""Compile-time arithmetic is Python's, whole where the result is whole, and bounded."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nestdsl.diagnostics import Diagnostics
from nestdsl.limits import MAX_WHOLE
from nestdsl.semantics.constants import UNKNOWN
from nestdsl.semantics.values.arithmetic import Arithmetic
from nestdsl.source import Source

SPAN = Source("x").span(0, 1)
WHOLE = st.one_of(st.integers(-20, 20), st.integers(-MAX_WHOLE, MAX_WHOLE))
NUMBER = st.one_of(WHOLE, st.floats(-100, 100), st.floats(allow_nan=False, allow_infinity=False))
PYTHON = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
}


def compute(operator, left, right):
    found = Diagnostics()
    value = Arithmetic(found).binary(operator, left, right, SPAN)
    codes = {diagnostic.code for diagnostic in found}
    assert (value is UNKNOWN) == bool(codes)
    return value, codes


def expected(operator, left, right):
    """Python's result, or None where there is no finite real one."""
    if operator == "**" and abs(left) > 1 and right * math.log2(abs(left)) > 1100:
        return None
    try:
        value = PYTHON[operator](left, right)
    except (OverflowError, ZeroDivisionError):
        return None
    is_real = isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
    return value if is_real else None


@given(st.sampled_from(sorted(PYTHON)), NUMBER, NUMBER)
@example("/", 1, 0)
@example("**", 0, -1)
@example("**", -8, 0.5)
@example("**", 9, 9**9)
@example("**", -2, 63)
@example("**", 1, MAX_WHOLE)
@example("*", 1e308, 10)
@example("-", 0.0, -0.0)
def test_arithmetic_is_pythons(operator, left, right):
    value, codes = compute(operator, left, right)
    wanted = expected(operator, left, right)
    if value is UNKNOWN:
        assert codes <= {"N0004", "N0203"}
        is_too_large = isinstance(left, int) and isinstance(right, int) and abs(wanted or 0) >= MAX_WHOLE
        assert wanted is None or is_too_large
    else:
        assert wanted is not None
        assert value == pytest.approx(wanted, rel=1e-15)


@given(st.sampled_from(["+", "-", "*"]), WHOLE, WHOLE)
def test_whole_numbers_stay_whole_and_exact(operator, left, right):
    value, _ = compute(operator, left, right)
    exact = PYTHON[operator](left, right)
    assert value is UNKNOWN if abs(exact) > MAX_WHOLE else (type(value) is int and value == exact)


@given(st.integers(-1000, 1000), st.integers(-1000, 1000).filter(bool))
def test_a_quotient_is_whole_where_it_comes_out(left, right):
    value, _ = compute("/", left, right)
    assert isinstance(value, int) == (left % right == 0)
    assert value == left / right


@given(st.integers(-9, 9), st.integers(0, 9))
def test_powers_of_whole_numbers(base, exponent):
    assert compute("**", base, exponent) == (base**exponent, set())


@pytest.mark.parametrize(("left", "right"), [(True, 1), (1, False), ("a", 1), (1, "a"), ("a", "b")])
def test_only_numbers_compute(left, right):
    assert compute("+", left, right) == (UNKNOWN, {"N0104"})


def test_a_mistake_is_not_reported_again():
    found = Diagnostics()
    assert Arithmetic(found).binary("+", UNKNOWN, "a", SPAN) is UNKNOWN
    assert len(found) == 0
