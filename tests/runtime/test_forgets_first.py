"""The published gated delta rule, `forget_first`: the fast form equals the loop, and both its equation."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory import LinearRule, initial_state, learn, naive, read
from tests.runtime.linear_memories import (
    NAMES,
    B,
    assert_equals_loop,
    assert_split_equals_whole,
    make_inputs,
    through_blocks,
    through_loop,
)
from tests.runtime.results import assert_same, gradients


def rule(
    chunk: int | None = None, gradient: str = "through", toward: str = "zero", first: bool = True
) -> LinearRule:
    return LinearRule("l2", 1, chunk, gradient, "gd", toward, forget_first=first)  # type: ignore[arg-type]


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("toward", ["zero", "init"])
@pytest.mark.parametrize("mode", ["after", "before"])
@pytest.mark.parametrize(
    ("tokens", "block"), [(1, 32), (2, 32), (11, 4), (12, 4), (19, 32), (37, 32), (50, 48)]
)
def test_every_token_equals_the_loop(
    tokens: int, block: int, mode: str, toward: str, per_channel: bool
) -> None:
    assert_equals_loop(rule(toward=toward), mode, tokens, 0, block, per_channel=per_channel)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("toward", ["zero", "init"])
@pytest.mark.parametrize("mode", ["after", "before", "anchor"])
@pytest.mark.parametrize(
    ("tokens", "chunk", "position", "block"),
    [
        (13, 1, 0, 4),
        (13, 2, 1, 4),
        (1, 5, 4, 32),
        (1, 5, 0, 32),
        (13, 5, 3, 4),
        (20, 4, 0, 4),
        (9, 40, 35, 4),
        (9, 40, 2, 4),
    ],
)
def test_anchors_equal_the_loop(
    tokens: int, chunk: int, position: int, block: int, mode: str, toward: str, per_channel: bool
) -> None:
    assert_equals_loop(rule(chunk, toward=toward), mode, tokens, position, block, per_channel=per_channel)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("chunk", "toward"), [(None, "zero"), (None, "init"), (5, "zero"), (1, "init")])
def test_a_factor_of_zero_erases_and_keeps_its_gradient(
    chunk: int | None, toward: str, per_channel: bool
) -> None:
    """Nothing is divided by α: at 0 and at 1e-9 values and gradients are as exact as elsewhere."""
    for tokens, block in ((1, 4), (11, 4), (19, 16)):
        assert_equals_loop(
            rule(chunk, toward=toward), "after", tokens, 0, block, zeros=tokens > 2, per_channel=per_channel
        )
    inputs = make_inputs(11, zeros=True, per_channel=per_channel)
    got = gradients(through_blocks(inputs, rule(chunk, toward=toward), "after", 0), inputs)
    assert (got["retain"][:, 1::3].abs() > 0).any()


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(("chunk", "toward"), [*itertools.product((None, 1, 5), ("zero", "init"))])
def test_stopped_gradient_reaches_query_and_start_only(
    chunk: int | None, toward: str, per_channel: bool
) -> None:
    stop = rule(chunk, "stop", toward)
    mode = "anchor" if stop.keeps_anchor else "after"
    inputs = make_inputs(13, per_channel=per_channel)
    want, got = through_loop(inputs, stop, mode, 0), through_blocks(inputs, stop, mode, 0)
    found = gradients(got, inputs)
    assert_same(got, want)
    assert_same(found, gradients(want, inputs))
    assert [name for name in NAMES if found[name].abs().max() > 0] == ["query", "matrix"]
    assert_same(got, through_blocks(inputs, rule(chunk, toward=toward), mode, 0))


RULES = [(rule(), "after"), (rule(toward="init"), "before"), (rule(5), "anchor"), (rule(1), "after")]


@pytest.mark.parametrize(("own", "mode"), RULES)
@pytest.mark.parametrize("sizes", [(13,), (4, 9), (6, 1, 6), (1,) * 13])
def test_whole_equals_split_anywhere(own: LinearRule, mode: str, sizes: tuple[int, ...]) -> None:
    assert_split_equals_whole(own, mode, sizes)


@pytest.mark.parametrize(("own", "mode"), RULES)
def test_rows_are_independent_and_no_token_sees_a_later_one(own: LinearRule, mode: str) -> None:
    inputs = {name: tensor.detach() for name, tensor in make_inputs(13).items()}
    whole = through_blocks(inputs, own, mode, 0)["out"]
    for row in range(B):
        alone = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
        torch.testing.assert_close(through_blocks(alone, own, mode, 0)["out"], whole[row : row + 1])
    for t, name in itertools.product(range(13), ("query", "key", "value", "step", "retain")):
        changed = dict(inputs)
        changed[name] = inputs[name].clone()
        changed[name][:, t] *= 0.5
        out = through_blocks(changed, own, mode, 0)["out"]
        seen = t + 1 if mode != "after" and name != "query" else t
        assert torch.equal(out[:, :seen], whole[:, :seen])


def published(inputs: dict[str, Tensor]) -> Tensor:
    """S_t = (I - η k kᵀ) Diag(α) S_{t-1} + η k vᵀ, read with q; no code in common with the package."""
    x, state, answers = inputs, inputs["matrix"], []
    alpha = x["retain"] if x["retain"].dim() == 4 else x["retain"][..., None].expand_as(x["key"])
    eye = torch.eye(x["key"].shape[-1], dtype=torch.float64)
    for t in range(x["key"].shape[1]):
        k, v, eta = x["key"][:, t, :, :, None], x["value"][:, t, :, None], x["step"][:, t, :, None, None]
        state = (eye - eta * k @ k.mT) @ torch.diag_embed(alpha[:, t]) @ state + eta * k @ v
        answers.append((x["query"][:, t, :, None] @ state).squeeze(-2))
    return torch.stack(answers, 1)


@pytest.mark.parametrize("per_channel", [False, True])
def test_it_is_the_published_rule(per_channel: bool) -> None:
    inputs = make_inputs(21, zeros=True, per_channel=per_channel)
    want = {"out": published(inputs)}
    got = {"out": through_blocks(inputs, rule(), "after", 0)["out"]}
    assert_same(got, want)
    assert_same(gradients(got, inputs), gradients(want, inputs))
    other = through_blocks(inputs, rule(first=False), "after", 0)["out"]
    assert (other - want["out"]).abs().max() > 0.1


def test_where_all_is_kept_both_rules_are_one() -> None:
    inputs = make_inputs(13)
    inputs["retain"] = torch.ones_like(inputs["retain"])
    first, last = (through_blocks(inputs, rule(first=one), "after", 0)["out"] for one in (True, False))
    torch.testing.assert_close(first, last, rtol=1e-12, atol=1e-12)


def test_a_full_step_answers_its_key_whatever_was_left() -> None:
    """η = 1 and |k| = 1: the token's own key answers v, which the other rule reaches only where α = 1."""
    inputs = make_inputs(9)
    inputs["query"], inputs["step"] = inputs["key"], torch.ones_like(inputs["step"])
    out = through_blocks(inputs, rule(), "after", 0)["out"]
    torch.testing.assert_close(out, inputs["value"], rtol=1e-12, atol=1e-12)
    other = through_blocks(inputs, rule(first=False), "after", 0)["out"]
    assert (other - inputs["value"]).abs().max() > 0.1


@pytest.mark.parametrize("tiny", [0.0, 1e-30, 1e-9])
def test_float32_keeps_its_digits_where_almost_nothing_is_left(tiny: float) -> None:
    exact = {name: tensor.detach().requires_grad_() for name, tensor in make_inputs(70).items()}
    with torch.no_grad():
        exact["retain"][:, 1::2] = tiny
    single = {name: tensor.detach().float().requires_grad_() for name, tensor in exact.items()}
    for block in (16, 32):
        got = {"out": through_blocks(single, rule(), "after", 0, block)["out"]}
        want = {"out": through_blocks(exact, rule(), "after", 0, block)["out"]}
        pairs = [(got["out"], want["out"])]
        found, expected = gradients(got, single), gradients(want, exact)
        pairs += [(found[name], expected[name]) for name in NAMES if name != "momentum"]
        for one, other in pairs:
            assert ((one.double() - other).norm() / other.norm()) < 1e-5


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_gradcheck(first: bool, per_channel: bool) -> None:
    own, inputs = rule(2, first=first), make_inputs(5, per_channel=per_channel)

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        got = through_blocks(dict(zip(NAMES, tensors, strict=True)), own, "after", 1, block=2)
        return got["out"], got["matrix"], got["anchor"]

    row = tuple(inputs[name][:1].detach().requires_grad_() for name in NAMES)
    assert torch.autograd.gradcheck(run, row)


@pytest.mark.parametrize(
    "wrong", [{"optimizer": "dgd"}, {"optimizer": "momentum"}, {"objective": "dot"}, {"period": 4}]
)
def test_what_has_no_such_form_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="forget_first needs"):
        LinearRule(**wrong, forget_first=True)


def test_the_loop_and_the_blocks_take_flows_in_half_precision() -> None:
    inputs = {name: tensor.detach().to(torch.bfloat16) for name, tensor in make_inputs(13).items()}
    x = inputs | {"matrix": inputs["matrix"].float()}
    exact = {name: tensor.double() for name, tensor in x.items()}
    trajectory, state = learn(
        x["key"], x["value"], x["step"], x["retain"], initial_state(x["matrix"], rule()), rule()
    )
    assert read(trajectory, x["query"], "after", rule()).dtype == torch.bfloat16
    flows = (exact[name] for name in ("query", "key", "value", "step", "retain"))
    _, _, want = naive.remember(*flows, initial_state(exact["matrix"], rule()), rule(), "after")
    torch.testing.assert_close(state["matrix"].double(), want["matrix"], rtol=1e-5, atol=1e-5)
