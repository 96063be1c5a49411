"""The two-layer memory differentiated twice, as meta-gradients of levels in context need it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.ops.deep_memory import DeepRule, State, initial_state, learn, naive, read

TOKENS, K, D = 5, 2, 2
NAMES = ("inner", "outer", "carried_inner", "carried_outer", "query", "key", "value", "step", "retain")


def make_inputs(rule: DeepRule) -> dict[str, Tensor]:
    """One row, one head: weights, carried weights and momenta of their own, and the flows."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inner, outer = (1, 1, K, D), (1, 1, D, K)
    flow, factor = (1, TOKENS, 1, K), (1, TOKENS, 1)
    made = {name: normal(*(inner if name.endswith("inner") else outer)) for name in NAMES[:4]}
    made |= {name: 0.7 * normal(*flow) for name in NAMES[4:7]}
    made |= {"step": 0.4 * torch.sigmoid(normal(*factor)), "retain": torch.sigmoid(1 + normal(*factor))}
    if rule.has_momentum:
        made |= {"momentum": torch.sigmoid(normal(*factor)), "surprise": normal(*inner)}
    return {name: part.requires_grad_() for name, part in made.items()}


def state_of(inputs: dict[str, Tensor], rule: DeepRule, position: int) -> State:
    """A state in the middle of a chunk or period; all of it hangs on the inputs."""
    state = initial_state(inputs["inner"], inputs["outer"], rule)
    state |= {"inner": inputs["carried_inner"], "outer": inputs["carried_outer"]}
    if "position" in state:
        state["position"] = state["position"] + position
    if rule.keeps_anchor and position == 0:
        state |= {"anchor_inner": state["inner"], "anchor_outer": state["outer"]}
    if rule.has_momentum:
        state |= {"momentum_inner": inputs["surprise"], "momentum_outer": inputs["outer"].sin()}
    return state


def results(inputs: dict[str, Tensor], rule: DeepRule, mode: str, position: int, loop: bool) -> list[Tensor]:
    state, momentum = state_of(inputs, rule, position), inputs.get("momentum")
    flows = [inputs[name] for name in ("key", "value", "step", "retain")]
    if loop:
        out, following = naive.remember(inputs["query"], *flows, momentum, state, rule, mode)
    else:
        trajectory, following = learn(*flows, momentum, state, rule)
        out = read(trajectory, inputs["query"], mode, rule)
    return [out, *(part for name, part in sorted(following.items()) if part.is_floating_point())]


def second(inputs: dict[str, Tensor], rule: DeepRule, mode: str, position: int, loop: bool) -> list[Tensor]:
    """The gradients of a random weighing of the gradients of a random weighing of all results."""
    found, generator = results(inputs, rule, mode, position, loop), torch.Generator().manual_seed(7)
    for _ in range(2):
        weighed = [
            (part * torch.randn(part.shape, generator=generator, dtype=part.dtype)).sum() for part in found
        ]
        total = torch.stack(weighed).sum()
        grads = torch.autograd.grad(total, list(inputs.values()), create_graph=True, allow_unused=True)
        found = [
            torch.zeros_like(one) if grad is None else grad
            for grad, one in zip(grads, inputs.values(), strict=True)
        ]
    return found


RULES = [
    (DeepRule(optimizer="gd", chunk=2), "after", 1),
    (DeepRule(optimizer="gd", chunk=1, activation="silu"), "before", 0),
    (DeepRule(optimizer="dgd", chunk=2), "after", 1),
    (DeepRule("dot", "dgd", chunk=2, toward="init", activation="tanh"), "anchor", 0),
    (DeepRule(optimizer="momentum", chunk=2), "before", 1),
    (DeepRule("lp", "momentum", p=3.0, chunk=1), "after", 0),
    (DeepRule("lp", "dgd_momentum", p=1.5, chunk=2, toward="init"), "after", 1),
    (DeepRule(optimizer="dgd_momentum", chunk=3), "after", 2),
    (DeepRule(optimizer="dgd_momentum", period=2, toward="init"), "after", 1),
    (DeepRule(optimizer="dgd_momentum", chunk=8), "after", 0),
    (DeepRule(optimizer="dgd", chunk=2, gradient="stop", toward="init"), "after", 1),
]


@pytest.mark.parametrize(("rule", "mode", "position"), RULES)
def test_second_derivatives_equal_those_of_the_loop(rule: DeepRule, mode: str, position: int) -> None:
    inputs = make_inputs(rule)
    got, want = (second(inputs, rule, mode, position, loop) for loop in (False, True))
    for name, one, other in zip(inputs, got, want, strict=True):
        torch.testing.assert_close(
            one, other, rtol=1e-9, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize(
    ("rule", "mode", "position"),
    [
        (DeepRule(optimizer="dgd_momentum", chunk=2, toward="init"), "after", 1),
        (DeepRule("dot", "gd", chunk=2, activation="silu"), "before", 1),
        (DeepRule("lp", "momentum", p=3.0, chunk=2), "anchor", 0),
    ],
)
def test_second_derivatives_equal_differences_of_the_first(rule: DeepRule, mode: str, position: int) -> None:
    inputs = make_inputs(rule)

    def run(*parts: Tensor) -> tuple[Tensor, ...]:
        return tuple(results(dict(zip(inputs, parts, strict=True)), rule, mode, position, loop=False))

    assert torch.autograd.gradgradcheck(run, tuple(inputs.values()))
