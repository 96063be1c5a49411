"""Optimizers of the library drive levels in context: each sequence has a state of its own."""

from __future__ import annotations

import pytest
import torch

import nestdsl
from nestdsl.semantics.modules import library_module

PERIODS = {"m3": "m3(period = 2)", "m3_paper": "m3_paper(lr = 1e-5, period = 2)"}


def model_of(optimizer: str):
    nest = nestdsl.parse(f"""
    model chain {{
      input ids(7)
      level own = mlp(expand = 2) {{ every 4 tokens  optimizer {PERIODS.get(optimizer, optimizer)} }}
      level as_trained = linear {{ every 8 tokens }}
      flow out = in -> embedding(6) -> own -> as_trained -> linear(7)
      train {{ objective cross_entropy  optimizer {PERIODS.get(optimizer, optimizer)} }}
    }}
    """)
    return nest.compile(compile=False).double()


@pytest.mark.parametrize("optimizer", library_module("optim").names)
def test_a_batch_is_its_rows_alone_and_a_sequence_its_parts(optimizer: str) -> None:
    model = model_of(optimizer)
    ids = torch.randint(7, (3, 26), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole, _ = model(ids, learn=True)
        rows = torch.cat([model(row[None], learn=True)[0] for row in ids])
        first, state = model(ids[:, :11], learn=True)
        second, _ = model(ids[:, 11:], state, learn=True)
        still, _ = model(ids)
    torch.testing.assert_close(rows, whole, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(torch.cat((first, second), 1), whole, rtol=1e-9, atol=1e-9)
    assert torch.equal(still[:, :4], whole[:, :4])
    assert not torch.allclose(still[:, 8:], whole[:, 8:])


def test_an_optimizer_starts_anew_with_each_sequence() -> None:
    model = model_of("adamw")
    ids = torch.randint(7, (1, 20), generator=torch.Generator().manual_seed(0))
    before, _ = model(ids, learn=True)
    model(ids.flip(1), learn=True)
    assert torch.equal(model(ids, learn=True)[0], before)
