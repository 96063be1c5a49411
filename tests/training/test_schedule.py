"""Warm-up and cosine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestdsl.training.schedule import rate_scale
from nestdsl.training.settings import Settings


@given(st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_rates_rise_and_then_fall(steps, warmup, final_rate) -> None:
    settings = Settings(steps=steps, warmup=warmup, final_rate=final_rate)
    scales = [rate_scale(step, settings) for step in range(1, steps + 1)]
    top = scales.index(max(scales))
    assert all(0 <= scale <= 1 for scale in scales)
    assert scales[: top + 1] == sorted(scales[: top + 1])
    assert scales[top:] == sorted(scales[top:], reverse=True)
    if round(warmup * steps) < steps:
        assert scales[-1] == pytest.approx(final_rate)


def test_the_warm_up_reaches_the_full_rate_at_its_end() -> None:
    settings = Settings(steps=100, warmup=0.2)
    assert [rate_scale(step, settings) for step in (1, 10, 20)] == [0.05, 0.5, 1.0]
    assert rate_scale(60, settings) == pytest.approx(0.55)
