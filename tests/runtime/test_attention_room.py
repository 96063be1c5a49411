"""Attention from a cache with room: what it reads is what it reads elsewhere, and the cache is a constant."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.kinds.attention import Attention
from nestdsl.runtime.ops.attention import appended

BATCH, KEY, VALUE, HEADS = 2, 8, 6, 2


def flows(tokens: int, pairs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keys, values and queries."""
    generator = torch.Generator().manual_seed(0)
    sizes = (pairs * KEY, pairs * VALUE, KEY)
    key, value, query = (
        torch.randn(BATCH, tokens, size, dtype=torch.float64, generator=generator).requires_grad_()
        for size in sizes
    )
    return key, value, query


@pytest.mark.parametrize("rotary", [True, False])
@pytest.mark.parametrize("pairs", [1, 3])
@pytest.mark.parametrize("block", [2, 4, 128])
def test_equals_attention_from_a_cut_cache_in_value_and_in_every_gradient(
    rotary: bool, pairs: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appended, "QUERY_BLOCK", block)
    attention = Attention(KEY, VALUE, heads=HEADS, rotary=rotary, pairs=pairs)
    lengths = (5, 1, 4, 7)
    found = flows(sum(lengths), pairs)
    plain = attention.init_state(BATCH, dtype=torch.float64)
    roomy = attention.in_room(plain, sum(lengths), torch.float64)
    assert "room" in roomy
    for key, value, query in zip(*(flow.split(lengths, 1) for flow in found), strict=True):
        reads, gradients = [], []
        states = []
        for state in (plain, roomy):
            context, following = attention.learn(key, value, state)
            reads.append(attention.read(context, query))
            upstream = torch.arange(reads[-1].numel(), dtype=torch.float64).view_as(reads[-1])
            gradients.append(torch.autograd.grad(reads[-1], (key, value, query), upstream, retain_graph=True))
            states.append(following)
        close(reads[1], reads[0])
        for one, other in zip(*reversed(gradients), strict=True):
            close(one, other)
        plain = {name: part.detach() for name, part in states[0].items()}
        roomy = states[1]
    back = attention.out_of_room(roomy)
    assert back.keys() == plain.keys()
    for name, part in plain.items():
        close(back[name], part)


@pytest.mark.parametrize("options", [{"window": 3}, {"segment": 4}, {"persistent": 2}, {"causal": False}])
def test_what_keeps_little_or_reads_more_has_no_room(options: dict) -> None:
    attention = Attention(KEY, VALUE, heads=HEADS, **options).double()
    state = attention.init_state(BATCH, dtype=torch.float64)
    assert attention.in_room(state, 8, torch.float64) is state
    assert attention.out_of_room(state) is state


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-10)
