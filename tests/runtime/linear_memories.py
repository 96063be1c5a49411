"""Inputs for linear memories, and both ways to run them: the loop and the blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory import LinearRule, State, initial_state, learn, naive, read
from tests.runtime.results import assert_same, gradients

B, H, K, V = 2, 2, 3, 4
NAMES = ("query", "key", "value", "step", "retain", "momentum", "matrix")


def make_inputs(
    tokens: int, seed: int = 0, zeros: bool = False, per_channel: bool = False
) -> dict[str, Tensor]:
    """Inputs as `naive.remember` takes them, in float64, each of which wants its gradient."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    retain = torch.sigmoid(2.0 + normal(B, tokens, H, K) if per_channel else 2.0 + normal(B, tokens, H))
    momentum = torch.sigmoid(normal(B, tokens, H))
    if zeros:
        retain[:, 1::3] = 0.0
        retain[:, 2, 0] = 1.0
        retain[:, ::5, 1] = 1e-9
        momentum[:, ::4] = 0.0
    inputs = {
        "query": normal(B, tokens, H, K),
        "key": torch.nn.functional.normalize(normal(B, tokens, H, K), dim=-1),
        "value": normal(B, tokens, H, V),
        "step": torch.sigmoid(normal(B, tokens, H)),
        "retain": retain,
        "momentum": momentum,
        "matrix": normal(B, H, K, V),
    }
    return {name: tensor.requires_grad_() for name, tensor in inputs.items()}


def state_at(matrix: Tensor, rule: LinearRule, position: int) -> State:
    """A state in the middle of a chunk or period, every part of which hangs on `matrix`."""
    state = initial_state(matrix, rule)
    if "position" in state:
        state["position"] = state["position"] + position
    if "momentum" in state and position:
        state["momentum"] = (matrix * 0.3).sin()
    if "start" in state and position:
        state["start"] = (matrix * 0.7).sin()
    if "anchor" in state:
        state["anchor"] = (matrix * 0.5).cos() if position else matrix
    if "gradient" in state and position:
        state["gradient"] = matrix.sin()
        state["retain"] = state["retain"] + 0.7 * position + 0.01 * matrix.sum((-1, -2))
        if "decay" in state:
            state["decay"] = (matrix * 2).sin()
        if "momentum_sum" in state:
            state["momentum_sum"] = state["momentum_sum"] + 0.3 * position + 0.02 * matrix.sum((-1, -2))
    return state


def momentum_for(rule: LinearRule, momentum: Tensor) -> Tensor | None:
    return momentum if rule.has_momentum else None


def through_loop(inputs: dict[str, Tensor], rule: LinearRule, mode: str, position: int) -> dict[str, Tensor]:
    x = inputs
    state, momentum = state_at(x["matrix"], rule, position), momentum_for(rule, x["momentum"])
    out, _, following = naive.remember(
        x["query"], x["key"], x["value"], x["step"], x["retain"], state, rule, mode, momentum
    )
    return {"out": out, **following}


def through_blocks(
    inputs: dict[str, Tensor],
    rule: LinearRule,
    mode: str,
    position: int,
    block: int = 4,
    aligned: bool = False,
) -> dict[str, Tensor]:
    state = state_at(inputs["matrix"], rule, position)
    trajectory, following = learn_all(inputs, state, rule, block, aligned)
    return {"out": read(trajectory, inputs["query"], mode, rule), **following}


def learn_all(
    inputs: dict[str, Tensor], state: State, rule: LinearRule, block: int = 4, aligned: bool = False
):
    """`learn`, with the inputs that the rule has."""
    x, momentum = inputs, momentum_for(rule, inputs["momentum"])
    flows = (x["key"], x["value"], x["step"], x["retain"])
    return learn(*flows, state, rule, momentum=momentum, block=block, aligned=aligned)


def assert_equals_loop(
    rule: LinearRule,
    mode: str,
    tokens: int,
    position: int,
    block: int,
    *,
    zeros: bool = False,
    per_channel: bool = False,
    aligned: bool = False,
) -> None:
    inputs = make_inputs(tokens, zeros=zeros, per_channel=per_channel)
    want = through_loop(inputs, rule, mode, position)
    got = through_blocks(inputs, rule, mode, position, block, aligned)
    assert_same(got, want)
    assert_same(gradients(got, inputs), gradients(want, inputs))


def assert_split_equals_whole(rule: LinearRule, mode: str, sizes: tuple[int, ...]) -> None:
    """In pieces of `sizes` tokens, state carried, the blocks equal the loop over all of them."""
    inputs = make_inputs(sum(sizes))
    pieces = {name: inputs[name].split(sizes, 1) for name in NAMES if name != "matrix"}
    state, outputs = initial_state(inputs["matrix"], rule), []
    for i in range(len(sizes)):
        piece = {name: parts[i] for name, parts in pieces.items()}
        trajectory, state = learn_all(piece, state, rule)
        outputs.append(read(trajectory, piece["query"], mode, rule))
    got = {"out": torch.cat(outputs, 1), **state}
    want = through_loop(inputs, rule, mode, 0)
    assert_same(got, want)
    assert_same(gradients(got, inputs), gradients(want, inputs))
