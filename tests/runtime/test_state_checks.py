"""A state of another batch, of another program, or none at all is refused with a code that says why."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nestdsl.diagnostics import NestError
from tests.runtime.ordinary.models import NAMES, SMALLER, model_of, sample

every_model = pytest.mark.parametrize("name", NAMES)


def refusal(model: Any, ids: torch.Tensor, state: Any, **options: Any) -> str:
    with pytest.raises(NestError) as raised:
        model(ids, state, **options)
    (only,) = raised.value.diagnostics
    assert only.code == "N0501" and only.hint
    return only.message


@every_model
@pytest.mark.parametrize("odd", [{}, 3, "x", [], torch.zeros(2), {"stack": 1}])
def test_what_is_no_state_is_refused(name: str, odd: Any) -> None:
    model = model_of(name)
    ids, targets = sample()
    for options in ({}, {"learn": True}, {"targets": targets, "stream": True}):
        assert "state" in refusal(model, ids, odd, **options)


@every_model
def test_a_state_of_other_rows_is_refused(name: str) -> None:
    model = model_of(name)
    for batch in (1, 3):
        _, state = model(sample(batch=batch)[0])
        assert f"has {batch} rows, and the input has 2" in refusal(model, sample()[0], state)


@every_model
def test_a_state_of_another_program_is_refused(name: str) -> None:
    model = model_of(name)
    ids = sample()[0]
    for other in NAMES:
        if other != name:
            refusal(model, ids, model_of(other)(ids)[1])


def test_a_state_of_the_same_program_with_other_sizes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("transformer", "gated_delta", "titans_mac"):
        model, ids = model_of(name), sample()[0]
        monkeypatch.setitem(SMALLER, name, {"dim": 32, "heads": 2})
        assert "has the shape" in refusal(model, ids, model_of(name)(ids)[1])
