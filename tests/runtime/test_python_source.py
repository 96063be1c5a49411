"""What `--emit python` shows builds and computes what the model does."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nestdsl.runtime.python_source import python_source
from tests.invariants.programs import texts
from tests.invariants.test_invariants import close, model_of, sample
from tests.runtime.ordinary.models import leaves as tensors


@pytest.mark.parametrize("name", sorted(texts()))
def test_the_source_is_the_model(name: str) -> None:
    model = model_of(name)
    namespace: dict[str, Any] = {}
    exec(compile(python_source(model.plan), name, "exec"), namespace)
    shown = namespace["Model"]().to(next(model.parameters()).dtype)
    shown.load_state_dict(model.state_dict())
    x = sample(model, batch=2)
    with torch.no_grad():
        (y, state), (found, other) = model(x[:, :19]), shown(x[:, :19])
        close(found, y)
        (y, state), (found, other) = model(x[:, 19:], state), shown(x[:, 19:], other)
        close(found, y)
    wanted = dict(tensors(state))
    shown_state = dict(tensors(other))
    assert shown_state.keys() == wanted.keys()
    for path, part in wanted.items():
        close(shown_state[path], part)
