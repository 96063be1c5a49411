"""Optimizers that torch does not have: each against its equation, written out here, in float64."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import nestdsl
from tests.std.moving import Formula, moved, moved_with_state, weight_and_gradients

STEPS = 12
SHAPES = ((6, 4), (4, 6), (5, 5))


def orthogonal(matrix: Tensor) -> Tensor:
    """Five steps of the quintic Newton-Schulz iteration from matrix / |matrix|, on its wide side (B4)."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / wide.norm().clamp(min=1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def unit(gradient: Tensor) -> Tensor:
    return gradient / gradient.norm()


def delta_momentum(weight: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """B6, corrected: m = m (0.9 I - 0.3 ĝᵀĝ) - g."""
    m = torch.zeros_like(weight)
    for g in gradients:
        decay = 0.9 * torch.eye(g.shape[1]).to(g) - 0.3 * unit(g).T @ unit(g)
        m = m @ decay - g
        weight = weight + 0.05 * m
    return weight


def preconditioned_momentum(weight: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """B5: m = 0.9 m - P g; P = (g gᵀ)^(-1/2), by which P g is the orthogonal part of g."""
    m = torch.zeros_like(weight)
    for g in gradients:
        m = 0.9 * m - orthogonal(g)
        weight = weight + 0.05 * max(1, g.shape[0] / g.shape[1]) ** 0.5 * m
    return weight


def dgd(weight: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """[Nested Learning, Eq. 57] with ĝᵀĝ for x xᵀ."""
    step = 0.3 / 1.3
    for g in gradients:
        along = torch.eye(g.shape[1]).to(g) - step * unit(g).T @ unit(g)
        weight = weight @ along - step * g
    return weight


def lion(weight: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    m = torch.zeros_like(weight)
    for g in gradients:
        direction = torch.sign(0.9 * m + 0.1 * g)
        weight = weight - 0.05 * (direction + 0.1 * weight)
        m = 0.99 * m + 0.01 * g
    return weight


def m3(weight: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """B14 as recommended: averages of g / √v, the slow one of means of four, updates the size of Adam's."""
    near, far, second = (torch.zeros_like(weight) for _ in range(3))
    gathered: list[Tensor] = []
    for t, gradient in enumerate(gradients, 1):
        second = 0.999 * second + 0.001 * gradient**2
        g = gradient / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
        near = 0.95 * near + 0.05 * g
        gathered.append(g)
        if t % 4 == 0:
            far = 0.9 * far + 0.1 * torch.stack(gathered).mean(0)
            gathered = []
        direction = orthogonal(near) + 0.5 * orthogonal(far)
        weight = weight - 0.05 * (0.2 * direction / direction.square().mean().sqrt() + 0.1 * weight)
    return weight


def m3_paper(weight: Tensor, gradients: Sequence[Tensor]) -> Tensor:
    """Algorithm 1, line by line, with the range of its sum half open: (k - 1) f < i <= k f."""
    f, b1, b2, b3, alpha, eta = 4, 0.05, 0.001, 0.1, 0.5, 1e-3
    first, second, v = (torch.zeros_like(weight) for _ in range(3))
    for k in range(len(gradients) // f):
        for i in range((k - 1) * f + 1, k * f + 1):
            second = second + b3 * gradients[i - 1] if i > 0 else second
        slow = orthogonal(second)
        for t in range(k * f + 1, (k + 1) * f + 1):
            g = gradients[t - 1]
            first = first + b1 * g
            v = v + b2 * g * g
            weight = weight - eta * (orthogonal(first) + alpha * slow) / (v.sqrt() + 1e-8)
    return weight


CASES: tuple[tuple[Formula, dict[str, float]], ...] = (
    (delta_momentum, {"lr": 0.05, "momentum": 0.9, "step": 0.3}),
    (preconditioned_momentum, {"lr": 0.05, "momentum": 0.9}),
    (dgd, {"lr": 0.3}),
    (lion, {"lr": 0.05, "decay": 0.1}),
    (m3, {"lr": 0.05, "period": 4, "decay": 0.1}),
    (m3_paper, {"lr": 1e-3, "period": 4}),
)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("formula", "parameters"), CASES, ids=[case[0].__name__ for case in CASES])  # type: ignore[attr-defined]
def test_it_is_its_equation(formula: Formula, parameters: dict[str, float], shape: tuple[int, ...]) -> None:
    weight, gradients = weight_and_gradients(shape, STEPS)
    found = moved(formula.__name__, weight, gradients, **parameters)  # type: ignore[attr-defined]
    torch.testing.assert_close(found, formula(weight, gradients), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("formula", [delta_momentum, dgd, lion])
def test_a_vector_is_a_row(formula: Formula) -> None:
    parameters = next(given for one, given in CASES if one is formula)
    weight, gradients = weight_and_gradients((7,), STEPS)
    row = formula(weight[None], [gradient[None] for gradient in gradients])
    found = moved(formula.__name__, weight, gradients, **parameters)  # type: ignore[attr-defined]
    torch.testing.assert_close(found, row[0], rtol=1e-9, atol=1e-9)


def test_dgd_is_the_delta_rule_for_one_token_of_length_one() -> None:
    """[Nested Learning, Eq. 57]: W = W (I - s x xᵀ) - s (dL/dy) xᵀ with s = lr / (1 + lr), for L = |W x - y|²
    / 2."""
    generator = torch.Generator().manual_seed(3)
    lr, weight = 0.4, torch.randn(5, 3, generator=generator, dtype=torch.float64)
    layer = nn.Linear(3, 5, bias=False, dtype=torch.float64)
    layer.weight.data.copy_(weight)
    optimizer = nestdsl.optimizer("std.optim:dgd", layer.parameters(), compile=False, lr=lr)
    step = lr / (1 + lr)
    for _ in range(6):
        x = unit(torch.randn(3, generator=generator, dtype=torch.float64))
        y = torch.randn(5, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        (0.5 * (layer(x) - y).square().sum()).backward()
        optimizer.step()
        error = weight @ x - y
        weight = weight - step * torch.outer(weight @ x, x) - step * torch.outer(error, x)
        torch.testing.assert_close(layer.weight.detach(), weight, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(6, 4), (7,)], ids=str)
def test_dmgd_is_its_equation(shape: tuple[int, ...]) -> None:
    """B7: W = W - lr rms(g) m(ĝ); of ĝ = g / rms(g), m(u) = u + A silu(B u) learns, row by row, g / √v."""
    weight, gradients = weight_and_gradients(shape, STEPS)
    parameters = {"lr": 0.05, "hidden": 3, "step": 0.5, "retain": 0.98}
    # Of the network, its first layer starts at random. A is 0 before the first update, which so leaves all of
    # B but what `retain` lets go.
    _, state = moved_with_state("dmgd", weight, gradients[:1], **parameters)
    inner = (state["m.inner"] / 0.98).requires_grad_()
    outer = torch.zeros(shape[-1], 3).to(weight).requires_grad_()
    second, expected = torch.zeros_like(weight), weight
    for t, g in enumerate(gradients, 1):
        second = 0.999 * second + 0.001 * g**2
        rms = g.square().mean().sqrt()
        target = (g / ((second / (1 - 0.999**t)).sqrt() + 1e-8)).reshape(-1, shape[-1])
        key = (g / rms).reshape(-1, shape[-1])

        def answer(key: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
            return key + nn.functional.silu(key @ inner.T) @ outer.T

        loss = 0.5 * (answer(key, inner, outer) - target).square().sum(1).mean()
        slopes = torch.autograd.grad(loss, (inner, outer))
        step = 0.5 / shape[-1]
        inner = (0.98 * inner - step * slopes[0]).detach().requires_grad_()
        outer = (0.98 * outer - step * slopes[1]).detach().requires_grad_()
        expected = expected - 0.05 * rms * answer(key, inner, outer).reshape(shape).detach()
    found = moved("dmgd", weight, gradients, **parameters)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_dmgd_that_does_not_learn_is_gradient_descent() -> None:
    weight, gradients = weight_and_gradients((6, 4), STEPS)
    found = moved("dmgd", weight, gradients, lr=0.05, step=0)
    torch.testing.assert_close(found, weight - 0.05 * torch.stack(gradients).sum(0), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["m3", "m3_paper"])
def test_the_slow_memory_of_m3_rests_between_multiples_of_its_period(name: str) -> None:
    weight, gradients = weight_and_gradients((6, 4), 9)
    states = [
        moved_with_state(name, weight, gradients[:count], period=4)[1]["far"].clone()
        for count in range(1, 10)
    ]
    moves = [
        number
        for number, (before, after) in enumerate(pairwise([torch.zeros_like(weight), *states]), 1)
        if not torch.equal(before, after)
    ]
    assert moves == [4, 8]


def test_a_gradient_of_zero_moves_nothing_and_stays_finite() -> None:
    for name in ("delta_momentum", "dmgd", "preconditioned_momentum", "m3", "m3_paper"):
        weight = torch.ones(3, 2, dtype=torch.float64)
        assert torch.equal(moved(name, weight, [torch.zeros_like(weight)] * 3), weight), name
