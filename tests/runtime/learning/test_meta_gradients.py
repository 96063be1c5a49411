"""`gradient through` on levels that learn from surprise: outer gradients against finite differences."""

from __future__ import annotations

import pytest
import torch

import nestdsl
from nestdsl.runtime.module import NestModule

PROGRAM = """
use std.titans
block remembering(heads = 2) {{
  flow k = in -> linear -> l2_normalize(heads)
  flow v = in -> linear
  level memory = {kind} {{ learn k -> v  every {every}  optimizer {optimizer} }}
  flow out = memory(k)
}}
model meta(dim = 8) {{
  input ids(11)
  flow x = in -> embedding(dim)
  level cms[2] = mlp(expand = 1) {{
    every 4 * 2 ** index tokens
    optimizer sgd(lr = 0.5, momentum = 0.9)
    gradient through
  }}
  flow h = x + (x -> rms_norm -> {mixer})
  flow out = h + (h -> rms_norm -> cms) -> linear(11)
}}
"""


def model_of(
    mixer: str = "remembering", kind: str = "matrix(heads)", every: str = "1 token", optimizer: str = "gd"
) -> NestModule:
    text = PROGRAM.format(kind=kind, every=every, optimizer=optimizer, mixer=mixer)
    return nestdsl.parse(text).compile(compile=False).double()


def assert_equal_to_finite_differences(model: NestModule, tokens: int = 14) -> None:
    """The gradient along a random direction of every weight, for a sequence of full and other periods."""
    ids = torch.randint(11, (2, tokens + 1), generator=torch.Generator().manual_seed(1))
    inputs, targets = ids[:, :-1], ids[:, 1:]
    model.loss(inputs, targets).backward()
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.named_parameters():
        direction = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        losses = []
        for sign in (1, -1):
            with torch.no_grad():
                weight.add_(direction, alpha=sign * 1e-5)
                losses.append(model.loss(inputs, targets))
                weight.sub_(direction, alpha=sign * 1e-5)
        assert weight.grad is not None
        torch.testing.assert_close(
            (weight.grad * direction).sum(),
            (losses[0] - losses[1]) / 2e-5,
            rtol=1e-5,
            atol=1e-8,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize("kind", ["matrix(heads)", "associative(heads)"])
@pytest.mark.parametrize(
    ("every", "optimizer"),
    [
        ("1 token, chunk 4", "gd(step = 0.3, retain = 0.9)"),
        ("1 token, chunk 2", "dgd(step = 0.3, retain = 0.9, momentum = 0.5)"),
        ("1 token", "momentum(step = 0.2, retain = 0.9, toward = init)"),
        ("2 tokens", "dgd(step = 0.5)"),
    ],
)
def test_through_memories(kind: str, every: str, optimizer: str) -> None:
    assert_equal_to_finite_differences(model_of("remembering", kind, every, optimizer))


@pytest.mark.parametrize("mixer", ["conv(3)", "attention(2)", "self_referential(heads = 2, chunk = 2)"])
def test_through_other_mixers(mixer: str) -> None:
    assert_equal_to_finite_differences(model_of(mixer))


def test_through_adam_where_a_weight_has_no_gradient_at_all() -> None:
    """Most ids are in no segment, and √v has no derivative at 0."""
    text = """
    model rare(dim = 6) {
      input ids(11)
      level embed = embedding(dim) { every 4 tokens  optimizer adamw(lr = 0.1, eps = 1e-2)  gradient through }
      flow out = in -> embed -> conv(2) -> tanh -> linear(11)
    }
    """
    assert_equal_to_finite_differences(nestdsl.parse(text).compile(compile=False).double())
