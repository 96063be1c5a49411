"""Inputs for two-layer memories, and both ways to run them: the loop and the chunks."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.deep_memory import DeepRule, State, initial_state, learn, naive, read
from tests.runtime.results import assert_same, gradients

B, H, K, D = 2, 2, 3, 4
FLOWS = ("query", "key", "value", "step", "retain", "momentum")
OPTIMIZERS = ("gd", "dgd", "momentum", "dgd_momentum")


def make_inputs(tokens: int, value_size: int = K, zeros: bool = False) -> dict[str, Tensor]:
    """Flows and initial weights in float64, each of which wants its gradient."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    retain = torch.sigmoid(2.0 + normal(B, tokens, H))
    momentum = torch.sigmoid(normal(B, tokens, H))
    if zeros:
        retain[:, 1::3] = momentum[:, ::4] = 0.0
        retain[:, 2, 0] = momentum[:, 1, 1] = 1.0
    inputs = {
        "query": normal(B, tokens, H, K),
        "key": 0.6 * normal(B, tokens, H, K),
        "value": normal(B, tokens, H, value_size),
        "step": 0.3 * torch.sigmoid(normal(B, tokens, H)),
        "retain": retain,
        "momentum": momentum,
        "inner": normal(B, H, K, D),
        "outer": 0.5 * normal(B, H, D, value_size),
    }
    return {name: tensor.requires_grad_() for name, tensor in inputs.items()}


def state_at(inputs: dict[str, Tensor], rule: DeepRule, position: int) -> State:
    """A state in the middle of a chunk or period, every part of which hangs on the initial weights."""
    state = initial_state(inputs["inner"], inputs["outer"], rule)
    if "position" not in state or position == 0:
        return state
    made = {"position": state["position"] + position}
    for name, part in state.items():
        if name.endswith(("_inner", "_outer")) and not name.startswith("start"):
            made[name] = 0.5 * torch.sin(part + inputs[name[-5:]] + len(name))
        elif name == "decay":
            made[name] = inputs["inner"].sin()
        elif name in ("retain", "momentum"):
            made[name] = part + 0.7 * position + 0.01 * inputs["inner"].sum((-1, -2))
    return {**state, **made}


def flows_of(inputs: dict[str, Tensor], rule: DeepRule) -> list[Tensor | None]:
    return [inputs[name] if name != "momentum" or rule.has_momentum else None for name in FLOWS]


def through_loop(
    inputs: dict[str, Tensor], rule: DeepRule, mode: str, position: int = 0
) -> dict[str, Tensor]:
    flows = flows_of(inputs, rule)
    out, state = naive.remember(*flows, state_at(inputs, rule, position), rule, mode)
    return {"out": out, **state}


def through_chunks(
    inputs: dict[str, Tensor], rule: DeepRule, mode: str, position: int = 0, aligned: bool = False
) -> dict[str, Tensor]:
    query, *flows = flows_of(inputs, rule)
    trajectory, state = learn(*flows, state_at(inputs, rule, position), rule, aligned=aligned)
    return {"out": read(trajectory, query, mode, rule), **state}


def assert_equals_loop(
    tokens: int,
    rule: DeepRule,
    mode: str,
    position: int = 0,
    *,
    value_size: int = K,
    aligned: bool = False,
    zeros: bool = False,
) -> None:
    inputs = make_inputs(tokens, value_size, zeros)
    want = through_loop(inputs, rule, mode, position)
    got = through_chunks(inputs, rule, mode, position, aligned)
    assert_same(got, want)
    assert_same(gradients(got, inputs), gradients(want, inputs))
