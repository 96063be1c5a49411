"""The linear memory differentiated twice, as levels need it that are differentiated through updates."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory import LinearRule
from tests.runtime.linear_memories import make_inputs, through_blocks, through_loop


def second(results: dict[str, Tensor], inputs: dict[str, Tensor]) -> list[Tensor]:
    """The gradients of a random weighing of the gradients of a random weighing of all results."""
    found = [results[name] for name in sorted(results) if results[name].is_floating_point()]
    generator = torch.Generator().manual_seed(7)
    for _ in range(2):
        weighed = [
            (part * torch.randn(part.shape, generator=generator, dtype=part.dtype)).sum() for part in found
        ]
        total = torch.stack(weighed).sum()
        found = list(
            torch.autograd.grad(total, list(inputs.values()), create_graph=True, materialize_grads=True)
        )
    return found


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize(
    ("rule", "mode", "position"),
    [
        (LinearRule("l2"), "after", 0),
        (LinearRule("l2", chunk=4, toward="init", forget_first=True), "anchor", 2),
        (LinearRule("dot", chunk=4), "anchor", 1),
        (LinearRule("l2", chunk=1, optimizer="dgd"), "before", 0),
        (LinearRule("l2", chunk=4, optimizer="dgd", toward="init"), "after", 3),
        (LinearRule("dot", chunk=4, optimizer="dgd"), "anchor", 0),
        (LinearRule("l2", chunk=4, optimizer="momentum"), "after", 2),
        (LinearRule("lp", chunk=4, optimizer="dgd_momentum", toward="init", p=3.0), "before", 1),
        (LinearRule("l2", chunk=20, optimizer="dgd_momentum"), "anchor", 5),
        (LinearRule("l2", period=3, optimizer="dgd_momentum", toward="init"), "after", 1),
        (LinearRule("l2", chunk=4, optimizer="dgd", gradient="stop"), "after", 0),
    ],
)
def test_second_derivatives_equal_those_of_the_loop(
    rule: LinearRule, mode: str, position: int, zeros: bool
) -> None:
    assert_equal(make_inputs(11, zeros=zeros), rule, mode, position)


@pytest.mark.parametrize(
    "rule",
    [
        LinearRule("dot"),
        LinearRule("l2"),
        LinearRule("l2", forget_first=True),
        LinearRule("l2", chunk=1, optimizer="dgd", toward="init"),
    ],
)
def test_with_a_retain_per_key_channel(rule: LinearRule) -> None:
    assert_equal(make_inputs(7, per_channel=True), rule, "after", 0)


def assert_equal(inputs: dict[str, Tensor], rule: LinearRule, mode: str, position: int) -> None:
    got = second(through_blocks(inputs, rule, mode, position), inputs)
    want = second(through_loop(inputs, rule, mode, position), inputs)
    for name, one, other in zip(inputs, got, want, strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-8, atol=1e-8, msg=lambda text, name=name: f"{name}: {text}"
        )
