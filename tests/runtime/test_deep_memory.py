"""The two-layer memory: the fast form equals the loop, in value and in every gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.ops.deep_memory import DeepRule, naive
from nestdsl.runtime.ops.deep_memory.pointwise import activate, curvature, error, error_slope, slope
from tests.runtime.deep_memories import (
    OPTIMIZERS,
    K,
    assert_equals_loop,
    make_inputs,
    through_chunks,
    through_loop,
)
from tests.runtime.results import assert_same, gradients


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("toward", ["zero", "init"])
@pytest.mark.parametrize("mode", ["after", "before", "anchor"])
@pytest.mark.parametrize(
    ("tokens", "chunk", "position"),
    [(5, 1, 0), (13, 4, 3), (1, 5, 4), (1, 5, 0), (9, 40, 35), (9, 40, 2), (19, 18, 0)],
)
def test_chunks_equal_the_loop(
    optimizer: str, toward: str, mode: str, tokens: int, chunk: int, position: int
) -> None:
    assert_equals_loop(tokens, DeepRule("l2", optimizer, toward=toward, chunk=chunk), mode, position)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("toward", ["zero", "init"])
@pytest.mark.parametrize("mode", ["after", "before", "anchor"])
@pytest.mark.parametrize(
    ("tokens", "period", "position"), [(9, 2, 1), (1, 5, 4), (1, 5, 0), (13, 5, 3), (9, 40, 35), (9, 40, 2)]
)
def test_periods_equal_the_loop(
    optimizer: str, toward: str, mode: str, tokens: int, period: int, position: int
) -> None:
    assert_equals_loop(tokens, DeepRule("l2", optimizer, toward=toward, period=period), mode, position)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rule", [DeepRule(chunk=4), DeepRule(period=4), DeepRule(chunk=20)])
@pytest.mark.parametrize("tokens", [3, 8, 10])
def test_a_call_that_begins_with_a_chunk_may_say_so(optimizer: str, rule: DeepRule, tokens: int) -> None:
    rule = replace(rule, optimizer=optimizer, toward="init")
    for mode in ("after", "anchor"):
        assert_equals_loop(tokens, rule, mode, aligned=True)


@pytest.mark.parametrize("activation", ["gelu", "silu", "relu", "tanh"])
@pytest.mark.parametrize(
    ("objective", "p"), [("l2", 2.0), ("dot", 2.0), ("lp", 1.0), ("lp", 1.5), ("lp", 2.0), ("lp", 3.0)]
)
@pytest.mark.parametrize("value_size", [K, 5])
def test_every_objective_and_activation_equals_the_loop(
    activation: str, objective: str, p: float, value_size: int
) -> None:
    for optimizer in ("dgd", "momentum"):
        rule = DeepRule(objective, optimizer, activation, residual=value_size == K, p=p, chunk=3)
        assert_equals_loop(7, rule, "after", 1, value_size=value_size)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rule", [DeepRule(chunk=5), DeepRule(period=3), DeepRule(chunk=16, toward="init")])
def test_a_factor_of_zero_erases_and_keeps_its_gradient(optimizer: str, rule: DeepRule) -> None:
    assert_equals_loop(13, replace(rule, optimizer=optimizer), "after", zeros=True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("toward", ["zero", "init"])
@pytest.mark.parametrize(("chunk", "period", "mode"), [(1, 1, "before"), (5, 1, "anchor"), (1, 3, "after")])
def test_stopped_gradient_reaches_query_and_start_only(
    optimizer: str, toward: str, chunk: int, period: int, mode: str
) -> None:
    inputs = make_inputs(13)
    rule = DeepRule("l2", optimizer, toward=toward, chunk=chunk, period=period, gradient="stop")
    want, got = through_loop(inputs, rule, mode), through_chunks(inputs, rule, mode)
    found = gradients(got, inputs)
    assert_same(got, want)
    assert_same(found, gradients(want, inputs))
    assert [name for name in inputs if found[name].abs().max() > 0] == ["query", "inner", "outer"]
    assert_same(got, through_chunks(inputs, replace(rule, gradient="through"), mode))


@pytest.mark.parametrize("activation", ["gelu", "silu", "relu", "tanh"])
@pytest.mark.parametrize(
    ("objective", "p"), [("l2", 2.0), ("dot", 2.0), ("lp", 1.0), ("lp", 1.5), ("lp", 3.0)]
)
def test_the_gradients_are_those_of_the_objective(activation: str, objective: str, p: float) -> None:
    rule = DeepRule(objective, activation=activation, p=p)
    inputs = make_inputs(1)
    key, value = inputs["key"][:, 0], inputs["value"][:, 0]
    out = naive.answer(key, inputs["inner"], inputs["outer"], rule)
    match objective:
        case "l2":
            loss = 0.5 * (out - value).square().sum()
        case "dot":
            loss = -(out * value).sum()
        case _:
            loss = (out - value).abs().pow(p).sum() / p
    want = torch.autograd.grad(loss, (inputs["inner"], inputs["outer"]))
    got = naive.gradients(key, value, inputs["inner"], inputs["outer"], rule)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("activation", ["gelu", "silu", "relu", "tanh"])
def test_slopes_are_derivatives(activation: str) -> None:
    z = torch.linspace(-4, 4, 50, dtype=torch.float64).requires_grad_()
    (first,) = torch.autograd.grad(activate(z, activation).sum(), z)
    torch.testing.assert_close(slope(z, activation), first, rtol=1e-10, atol=1e-10)
    if activation != "relu":
        (second,) = torch.autograd.grad(slope(z, activation).sum(), z)
        torch.testing.assert_close(curvature(z, activation), second, rtol=1e-10, atol=1e-10)
    for rule in (
        DeepRule("l2"),
        DeepRule("dot"),
        DeepRule("lp", p=1.0),
        DeepRule("lp", p=1.5),
        DeepRule("lp", p=3.0),
    ):
        value = torch.zeros_like(z)
        value[:3] = z[:3].detach()
        (want,) = torch.autograd.grad(error(z, value, rule).sum() + 0 * z.sum(), z)
        got = torch.as_tensor(error_slope(z, value, rule), dtype=z.dtype).expand_as(z)
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("optimizer", ["dgd_momentum", "gd"])
def test_gradcheck(optimizer: str) -> None:
    rule = DeepRule("l2", optimizer, chunk=2, toward="init")
    inputs = make_inputs(3)

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        got = through_chunks(dict(zip(inputs, tensors, strict=True)), rule, "after", 1)
        return got["out"], got["inner"], got["outer"]

    row = tuple(tensor[:1].detach().requires_grad_() for tensor in inputs.values())
    assert torch.autograd.gradcheck(run, row)
