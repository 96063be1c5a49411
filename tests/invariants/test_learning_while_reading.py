"""What holds for every program whose levels learn from surprise in context, while it reads, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from nestdsl.runtime.module import NestModule
from tests.invariants.programs import nest, texts
from tests.invariants.test_invariants import close, model_of, sample


def learns_in_context(name: str) -> bool:
    plan = nest(name).plan
    return plan.input.takes == "ids" and any(level.surprise for body in plan.bodies for level in body.levels)


NAMES = sorted(filter(learns_in_context, texts()))


def tokens_of(model: NestModule) -> int:
    """Two segments and more; of short segments a few dozen tokens."""
    return max(2 * model.plan.clock.segment_tokens + 5, 37)


@pytest.mark.parametrize("name", NAMES)
def test_whole_equals_split_equals_token_by_token_and_is_what_training_sees(name: str) -> None:
    model = model_of(name)
    tokens = tokens_of(model)
    x = sample(model, batch=2, tokens=tokens + 1)
    inputs, targets = x[:, :-1], x[:, 1:]
    with torch.no_grad():
        whole, _ = model(inputs, learn=True)
        close(F.cross_entropy(whole.flatten(0, 1), targets.flatten()), model.loss(inputs, targets))
        assert (whole - model(inputs)[0]).abs().max() > 1e-9, "nothing has been learned"
        for lengths in ((1,) * tokens, (7, tokens - 7), (tokens - 1, 1), (8, 8, tokens - 16)):
            state, parts = None, []
            for part in inputs.split(lengths, dim=1):
                y, state = model(part, state, learn=True)
                parts.append(y)
            close(torch.cat(parts, dim=1), whole)


@pytest.mark.parametrize("name", NAMES)
def test_a_token_moves_no_output_before_it_and_no_other_row(name: str) -> None:
    model = model_of(name)
    tokens = tokens_of(model)
    segment = model.plan.clock.segment_tokens
    x = sample(model, batch=2, tokens=tokens)
    with torch.no_grad():
        before, _ = model(x, learn=True)
        for place in (0, 1, segment - 1, segment, segment + 1, 2 * segment, tokens - 1):
            changed = x.clone()
            changed[:, place] = (x[:, place] + 1) % model.plan.input.size
            after, _ = model(changed, learn=True)
            close(after[:, :place], before[:, :place])
            assert (after[:, place:] - before[:, place:]).abs().max() > 1e-9
        for row in range(2):
            close(model(x[row : row + 1], learn=True)[0], before[row : row + 1])
