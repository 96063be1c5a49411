"""Positions and resets are each row's own: rows that stand at different places of a context share a pass."""

from __future__ import annotations

import pytest
import torch

import nestdsl
from nestdsl.diagnostics import NestError
from tests.invariants.programs import texts
from tests.invariants.test_invariants import close, leaves, model_of, sample
from tests.runtime.ordinary.models import gradients
from tests.runtime.ordinary.models import sample as text

NAMES = sorted(texts())
BEFORE = (0, 3, 8, 13)
"""How many tokens each row has read."""


@pytest.mark.parametrize("name", NAMES)
def test_rows_at_different_places_share_a_pass(name: str) -> None:
    """Outputs, the next state and gradients are those of each row alone, in two passes of several tokens and
    one of one."""
    model = model_of(name)
    x = sample(model, batch=len(BEFORE))
    states = [
        model(x[row : row + 1, :many])[1] if many else model.init_state(1) for row, many in enumerate(BEFORE)
    ]
    state = model.join_states([model.detach_state(one) for one in states])
    for length in (5, 1, 9):
        new = x[:, :length]
        y, after = model(new, state)
        model.zero_grad()
        y.square().sum().backward()
        found = gradients(model)
        model.zero_grad()
        for row, one in enumerate(states):
            wanted, states[row] = model(new[row : row + 1], model.detach_state(one))
            close(y[row : row + 1], wanted)
            wanted.square().sum().backward()
        for weight, gradient in gradients(model).items():
            close(found[weight], gradient)
        state = model.detach_state(after)


@pytest.mark.parametrize("name", NAMES)
def test_some_rows_begin_again_and_others_go_on(name: str) -> None:
    model = model_of(name)
    x = sample(model, batch=3)
    with torch.no_grad():
        _, state = model(x[:, :11])
        reset = model.reset_rows(state, torch.tensor([False, True, False]))
        y, after = model(x[:, 11:], reset)
        going, _ = model(x[:, 11:], state)
        fresh, last = model(x[1:2, 11:])
    close(y[[0, 2]], going[[0, 2]])
    close(y[1:2], fresh)
    if "padding" not in str(after):
        for found, wanted in zip(
            leaves(model.take_rows(after, torch.tensor([1]))), leaves(last), strict=True
        ):
            close(found, wanted)


def test_rows_that_have_learned_differently_are_trained_in_groups() -> None:
    """The loss and its gradient are those of rows alone, at different places of the levels' periods."""
    model = nestdsl.parse(STREAM).compile(compile=False).double()
    ids, targets = text(batch=3, tokens=24)
    states = []
    for row, many in enumerate((6, 6, 11)):
        first = ids[row : row + 1, :many], targets[row : row + 1, :many]
        states.append(model.stream_loss(*first)[1])
    state = model.join_states(states)
    rest = ids[:, 11:], targets[:, 11:]
    loss, after = model.stream_loss(*rest, state)
    model.zero_grad()
    loss.backward()
    found = gradients(model)
    model.zero_grad()
    losses = []
    for row, one in enumerate(states):
        own = [part[row : row + 1] for part in rest]
        alone, last = model.stream_loss(*own, one)
        (alone / 3).backward()
        losses.append(alone)
        for part, wanted in zip(
            leaves(model.take_rows(after, torch.tensor([row]))), leaves(last), strict=True
        ):
            close(part, wanted)
    close(loss, torch.stack(losses).mean())
    for name, gradient in gradients(model).items():
        close(found[name], gradient)
    with pytest.raises(NestError, match="different parts of a period"):
        model(ids[:, :3], state, learn=True)


STREAM = """
model streaming {
  input ids(256)
  level embed = embedding(8)
  level fast = mlp(hidden = 8) { learn surprise  every 4 tokens  optimizer gd(step = 0.5)  reset never }
  level slow = mlp(hidden = 8) { learn surprise  every 8 tokens  optimizer momentum(lr = 0.1)  reset never }
  level head = linear(256)
  flow out = in -> embed -> fast -> slow -> head
  train { objective cross_entropy  optimizer adamw(lr = 0.01) }
}
"""
