"""The block step in one operator against the one that is made of pieces, and the two ways to invert."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory.cached import delta_blocks
from nestdsl.runtime.ops.linear_memory.inverse import inverse, substitute
from nestdsl.runtime.ops.linear_memory.solved import gram, solved_scan


def make_inputs(tokens: int) -> list[Tensor]:
    """Three blocks, two heads, keys of 5 and values of 7, in float64."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    keys = torch.nn.functional.normalize(normal(3, 2, tokens, 5), dim=-1)
    factors = [normal(3, 2, tokens, 1).sigmoid() for _ in range(2)]
    mask = normal(3, 2, tokens, tokens).sigmoid().tril(-1)
    ends = normal(3, 2, 1, 1).sigmoid()
    inputs = [keys, normal(3, 2, tokens, 7), mask, *factors, ends, normal(2, 5, 7)]
    return [part.requires_grad_() for part in inputs]


def in_pieces(inputs: list[Tensor]) -> tuple[Tensor, ...]:
    keys, writes, mask, asked, kept, ends, start = inputs
    system = mask * gram(keys.flatten(0, 1)).view(mask.shape)
    return solved_scan(system, writes, asked * keys, kept * keys, ends, start)[:3]


def gradients(results: tuple[Tensor, ...], inputs: list[Tensor], *, create_graph: bool) -> list[Tensor]:
    total = torch.stack([part.sin().sum() for part in results]).sum()
    found = list(torch.autograd.grad(total, inputs, create_graph=create_graph))
    found[2] = found[2].tril(-1)  # the rest of the mask is no input
    return found


@pytest.mark.parametrize("tokens", [2, 16, 32, 64])
def test_one_operator_equals_its_pieces_in_value_and_gradient(tokens: int) -> None:
    inputs = make_inputs(tokens)
    got, want = tuple(delta_blocks(*inputs)[:3]), in_pieces(inputs)
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)
    expected = gradients(want, inputs, create_graph=False)
    for create_graph in (True, False):
        found = gradients(got, inputs, create_graph=create_graph)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def test_unused_results_have_no_gradient() -> None:
    inputs = make_inputs(16)
    for number in range(3):
        results = tuple(delta_blocks(*inputs))[number], in_pieces(inputs)[number]
        got, want = (gradients((result,), inputs, create_graph=False) for result in results)
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("size", [1, 2, 15, 16, 48, 64])
def test_both_ways_to_invert_agree(size: int) -> None:
    strict = torch.randn(6, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    strict = strict.tril(-1) * 0.3
    want = torch.linalg.inv(torch.eye(size, dtype=torch.float64) + strict)
    for found in (inverse(strict), substitute(strict)):
        assert found.is_contiguous()
        torch.testing.assert_close(found, want, rtol=1e-10, atol=1e-10)
