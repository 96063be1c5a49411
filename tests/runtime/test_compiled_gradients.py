"""Compiled bodies give the gradients of eager ones, where saved tensors are views of one another."""

from __future__ import annotations

import pytest
import torch

import nestdsl

PROGRAM = """
use std.{module}
model small {{
  input ids(11)
  flow h = in -> embedding(32)
  flow out = h + (h -> {block}(2)) -> linear(11)
}}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "block"),
    [
        ("gated_delta", "gated_delta"),
        ("retention", "retention"),
        ("titans", "self_referential"),
    ],
)
def test_compiled_gradients_are_those_of_eager_bodies(module: str, block: str) -> None:
    """Long enough for two blocks of 32 tokens: a shorter call compiles to other code."""
    nest = nestdsl.parse(PROGRAM.format(module=module, block=block))
    ids = torch.arange(2 * 65).reshape(2, 65) % 11
    found = []
    for compile in (False, True):
        model = nest.compile(compile=compile)
        loss = model.loss(ids[:, :-1], ids[:, 1:])
        loss.backward()
        found.append({name: weight.grad for name, weight in model.named_parameters()})
    torch.testing.assert_close(found[1], found[0], rtol=1e-3, atol=1e-5)
