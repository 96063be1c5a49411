"""The linear memory: the fast form equals the loop, in value and in every gradient."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory import LinearRule, State, read
from tests.runtime.linear_memories import (
    NAMES,
    B,
    assert_equals_loop,
    assert_split_equals_whole,
    learn_all,
    make_inputs,
    state_at,
    through_blocks,
    through_loop,
)
from tests.runtime.results import assert_same, gradients


@pytest.mark.parametrize("objective", ["l2", "dot"])
@pytest.mark.parametrize("mode", ["after", "before"])
@pytest.mark.parametrize(
    ("tokens", "block"), [(1, 32), (2, 32), (11, 4), (12, 4), (19, 32), (37, 32), (50, 48)]
)
def test_every_token_equals_the_loop(objective: str, mode: str, tokens: int, block: int) -> None:
    assert_equals_loop(LinearRule(objective), mode, tokens, 0, block)


@pytest.mark.parametrize("objective", ["l2", "dot"])
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
    objective: str, mode: str, tokens: int, chunk: int, position: int, block: int
) -> None:
    assert_equals_loop(LinearRule(objective, chunk=chunk), mode, tokens, position, block)


@pytest.mark.parametrize("objective", ["l2", "dot"])
@pytest.mark.parametrize("mode", ["after", "before", "anchor"])
@pytest.mark.parametrize(
    ("tokens", "period", "position"),
    [(13, 2, 1), (1, 5, 4), (1, 5, 0), (13, 5, 3), (20, 4, 0), (9, 40, 35), (9, 40, 2)],
)
def test_periods_equal_the_loop(objective: str, mode: str, tokens: int, period: int, position: int) -> None:
    assert_equals_loop(LinearRule(objective, period=period), mode, tokens, position, 4)


@pytest.mark.parametrize(
    "rule", [LinearRule("l2"), LinearRule("dot"), LinearRule("l2", chunk=5), LinearRule("l2", period=3)]
)
def test_a_factor_of_zero_erases_and_keeps_its_gradient(rule: LinearRule) -> None:
    assert_equals_loop(rule, "anchor" if rule.keeps_anchor else "after", 19, 0, 16, zeros=True)


@pytest.mark.parametrize(
    "rule",
    [
        LinearRule(objective, *rest, "stop")
        for objective in ("l2", "dot")
        for rest in ((1, None), (1, 5), (3, None))
    ],
)
def test_stopped_gradient_reaches_query_and_start_only(rule: LinearRule) -> None:
    inputs = make_inputs(13)
    mode = "anchor" if rule.keeps_anchor else "after"
    want, got = through_loop(inputs, rule, mode, 0), through_blocks(inputs, rule, mode, 0)
    found = gradients(got, inputs)
    assert_same(got, want)
    assert_same(found, gradients(want, inputs))
    assert [name for name in NAMES if found[name].abs().max() > 0] == ["query", "matrix"]
    through = LinearRule(rule.objective, rule.period, rule.chunk, "through")
    assert_same(got, through_blocks(inputs, through, mode, 0))


RULES = [
    (LinearRule("l2"), "after"),
    (LinearRule("dot"), "before"),
    (LinearRule("l2", chunk=5), "anchor"),
    (LinearRule("l2", period=4), "after"),
    (LinearRule("dot", period=4), "before"),
]


@pytest.mark.parametrize(("rule", "mode"), RULES)
@pytest.mark.parametrize("sizes", [(13,), (4, 9), (5, 8), (6, 1, 6), (1,) * 13])
def test_whole_equals_split_anywhere(rule: LinearRule, mode: str, sizes: tuple[int, ...]) -> None:
    assert_split_equals_whole(rule, mode, sizes)


@pytest.mark.parametrize(("rule", "mode"), RULES)
def test_rows_are_independent(rule: LinearRule, mode: str) -> None:
    inputs = make_inputs(13)
    whole = through_blocks(inputs, rule, mode, 0)["out"]
    for row in range(B):
        alone = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
        torch.testing.assert_close(through_blocks(alone, rule, mode, 0)["out"], whole[row : row + 1])


@pytest.mark.parametrize(("rule", "mode"), RULES)
def test_no_token_sees_a_later_one(rule: LinearRule, mode: str) -> None:
    inputs = {name: tensor.detach() for name, tensor in make_inputs(13).items()}
    whole = through_blocks(inputs, rule, mode, 0)["out"]
    for t, name in itertools.product(range(13), ("query", "key", "value", "step", "retain")):
        changed = dict(inputs)
        changed[name] = inputs[name].clone()
        changed[name][:, t] *= 0.5
        out = through_blocks(changed, rule, mode, 0)["out"]
        seen = t + 1 if mode != "after" and name != "query" else t
        assert torch.equal(out[:, :seen], whole[:, :seen])


def test_one_trajectory_answers_many_queries_in_many_ways() -> None:
    rule, inputs = LinearRule("l2", chunk=5), make_inputs(13)
    x = inputs
    state = state_at(x["matrix"], rule, 2)
    trajectory, _ = learn_all(x, state, rule)
    for mode, scale in itertools.product(("after", "before", "anchor"), (1.0, -2.0)):
        asked = {**x, "query": scale * x["query"]}
        want = through_loop(asked, rule, mode, 2)["out"]
        torch.testing.assert_close(read(trajectory, asked["query"], mode, rule), want)


def test_gradcheck() -> None:
    rule = LinearRule("l2", chunk=2)
    inputs = make_inputs(4)

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        got = through_blocks(dict(zip(NAMES, tensors, strict=True)), rule, "after", 1, block=2)
        return got["out"], got["matrix"], got["anchor"]

    row = tuple(inputs[name][:1].detach().requires_grad_() for name in NAMES)
    assert torch.autograd.gradcheck(run, row)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("rule", "mode"), RULES)
def test_half_precision_flows_keep_a_float32_state(rule: LinearRule, mode: str, autocast: bool) -> None:
    inputs = {name: tensor.detach().to(torch.bfloat16) for name, tensor in make_inputs(13).items()}
    exact = {name: tensor.double() for name, tensor in inputs.items()}
    inputs["matrix"] = inputs["matrix"].float()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        got = through_blocks(inputs, rule, mode, 0)
    want = through_blocks(exact, rule, mode, 0)
    assert got["out"].dtype == torch.bfloat16
    assert got["matrix"].dtype == torch.float32
    torch.testing.assert_close(got["matrix"].double(), want["matrix"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("block", [16, 32, 64])
def test_float32_keeps_its_digits(block: int) -> None:
    exact = {name: tensor.detach() for name, tensor in make_inputs(200).items()}
    single = {name: tensor.float() for name, tensor in exact.items()}
    got, want = (
        through_blocks(x, LinearRule("l2"), "after", 0, block)["out"].double() for x in (single, exact)
    )
    assert ((got - want).norm() / want.norm()) < 1e-6


# torch's own, on the first import of its compiler
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("rule", "mode"),
    [
        (LinearRule("l2"), "after"),
        pytest.param(LinearRule("l2", chunk=5, forget_first=True), "after", marks=pytest.mark.slow),
        pytest.param(LinearRule("l2", chunk=5), "anchor", marks=pytest.mark.slow),
        pytest.param(LinearRule("l2", period=4), "after", marks=pytest.mark.slow),
        pytest.param(LinearRule("l2", chunk=5, optimizer="dgd"), "after", marks=pytest.mark.slow),
        pytest.param(LinearRule("l2", chunk=5, optimizer="momentum"), "anchor", marks=pytest.mark.slow),
        pytest.param(
            LinearRule("l2", chunk=5, optimizer="dgd_momentum", toward="init"),
            "after",
            marks=pytest.mark.slow,
        ),
        pytest.param(LinearRule("lp", chunk=5, optimizer="dgd", p=3.0), "after", marks=pytest.mark.slow),
        pytest.param(LinearRule("l2", period=4, optimizer="momentum"), "after", marks=pytest.mark.slow),
    ],
)
def test_compiled_equals_eager_at_every_position_without_recompiling(rule: LinearRule, mode: str) -> None:
    torch.compiler.reset()
    inputs = make_inputs(9)

    def run(state: State, *flows: Tensor) -> dict[str, Tensor]:
        given = dict(zip(NAMES, flows, strict=False))
        trajectory, following = learn_all(given, state, rule)
        return {"out": read(trajectory, given["query"], mode, rule), **following}

    compiled = torch.compile(run, fullgraph=True, dynamic=False)
    flows = [inputs[name] for name in NAMES if name != "matrix"]
    for position in range(4):
        state = state_at(inputs["matrix"], rule, 0)
        if "position" in state:
            state["position"] = state["position"] + position
        with torch.compiler.set_stance("default" if position == 0 else "fail_on_recompile"):
            got = compiled(state, *flows)
        want = run(state, *flows)
        assert_same(got, want)
        assert_same(gradients(got, inputs), gradients(want, inputs))


@pytest.mark.parametrize(
    "wrong",
    [
        {"objective": "l3"},
        {"period": 0},
        {"chunk": 0},
        {"gradient": "half"},
        {"optimizer": "adam"},
        {"toward": "one"},
        {"p": 0.5},
    ],
)
def test_a_rule_out_of_range_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LinearRule(**wrong)


def test_a_read_that_the_rule_keeps_nothing_for_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a chunk"):
        through_blocks(make_inputs(4), LinearRule(), "anchor", 0)
    with pytest.raises(ValueError, match="multiple of 16"):
        through_blocks(make_inputs(4), LinearRule(), "after", 0, block=20)
