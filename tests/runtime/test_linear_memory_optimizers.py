"""Linear memories with other optimizers, objectives and decays: the fast form equals the loop."""

from __future__ import annotations

import itertools

import pytest
import torch

from nestdsl.runtime.ops.linear_memory import LinearRule, detach_state, initial_state, learn
from tests.runtime.linear_memories import (
    NAMES,
    B,
    assert_equals_loop,
    assert_split_equals_whole,
    learn_all,
    make_inputs,
    through_blocks,
    through_loop,
)
from tests.runtime.results import assert_same, gradients

OPTIMIZERS = ("gd", "dgd", "momentum", "dgd_momentum")
ALL = [
    pytest.param(optimizer, objective, toward, id=f"{optimizer}-{objective}-{toward}")
    for optimizer, objective, toward in itertools.product(OPTIMIZERS, ("l2", "dot", "lp"), ("zero", "init"))
    if (optimizer, toward) != ("gd", "zero") or objective == "lp"
]


@pytest.mark.parametrize(("optimizer", "objective", "toward"), ALL)
@pytest.mark.parametrize(
    ("chunk", "mode", "tokens", "position", "block"),
    [
        (None, "after", 7, 0, 4),  # the whole call is one chunk
        (1, "before", 7, 0, 4),  # the exact recurrence
        (3, "anchor", 11, 2, 4),  # shorter than a block, begun in an earlier call
        (9, "before", 13, 5, 4),  # longer than a block
        (3, "after", 19, 1, 16),
        (4, "anchor", 12, 0, 4),
        (5, "after", 1, 4, 4),  # one token, the chunk's last
    ],
)
def test_every_token_equals_the_loop(
    optimizer: str,
    objective: str,
    toward: str,
    chunk: int | None,
    mode: str,
    tokens: int,
    position: int,
    block: int,
) -> None:
    rule = LinearRule(objective, chunk=chunk, optimizer=optimizer, toward=toward, p=3.0)
    assert_equals_loop(rule, mode, tokens, position, block)


@pytest.mark.parametrize(("optimizer", "objective", "toward"), ALL)
def test_periods_equal_the_loop(optimizer: str, objective: str, toward: str) -> None:
    rule = LinearRule(objective, period=4, optimizer=optimizer, toward=toward, p=1.5)
    assert_equals_loop(rule, "after", 10, 3, 4)
    assert_equals_loop(rule, "before", 8, 0, 4, aligned=True)


@pytest.mark.parametrize(("optimizer", "objective", "toward"), ALL)
@pytest.mark.parametrize(("chunk", "tokens"), [(1, 3), (3, 11), (5, 5), (5, 4), (8, 19), (8, 24)])
def test_the_word_that_a_call_begins_with_a_chunk_changes_nothing(
    optimizer: str, objective: str, toward: str, chunk: int, tokens: int
) -> None:
    rule = LinearRule(objective, chunk=chunk, optimizer=optimizer, toward=toward, p=3.0)
    assert_equals_loop(rule, "anchor", tokens, 0, 4, aligned=True)


@pytest.mark.parametrize(("optimizer", "objective", "toward"), ALL)
def test_a_factor_of_zero_erases_and_keeps_its_gradient(optimizer: str, objective: str, toward: str) -> None:
    rule = LinearRule(objective, chunk=3, optimizer=optimizer, toward=toward, p=3.0)
    assert_equals_loop(rule, "after", 11, 1, 4, zeros=True)


@pytest.mark.parametrize(("optimizer", "objective", "toward"), ALL)
@pytest.mark.parametrize(("chunk", "period"), [(None, 1), (1, 1), (3, 1), (None, 4)])
def test_stopped_gradient_reaches_query_and_start_only(
    optimizer: str, objective: str, toward: str, chunk: int | None, period: int
) -> None:
    stop = LinearRule(objective, period, chunk, "stop", optimizer, toward, 3.0)
    inputs = make_inputs(11)
    want, got = through_loop(inputs, stop, "after", 0), through_blocks(inputs, stop, "after", 0)
    found = gradients(got, inputs)
    assert_same(got, want)
    assert_same(found, gradients(want, inputs))
    assert [name for name in NAMES if found[name].abs().max() > 0] == ["query", "matrix"]
    through = LinearRule(objective, period, chunk, "through", optimizer, toward, 3.0)
    assert_same(got, through_blocks(inputs, through, "after", 0))
    if period == 1:
        assert_equals_loop(stop, "after", 7, 2 if stop.keeps_anchor else 0, 4)


RULES = [
    (LinearRule("l2", chunk=5, optimizer="dgd"), "after"),
    (LinearRule("l2", chunk=1, optimizer="dgd", toward="init"), "before"),
    (LinearRule("l2", chunk=5, optimizer="momentum"), "anchor"),
    (LinearRule("l2", chunk=3, optimizer="dgd_momentum", toward="init"), "after"),
    (LinearRule("dot", optimizer="dgd_momentum"), "after"),
    (LinearRule("lp", chunk=5, optimizer="momentum", p=3.0), "after"),
    (LinearRule("l2", period=4, optimizer="dgd_momentum"), "after"),
]


@pytest.mark.parametrize(("rule", "mode"), RULES)
@pytest.mark.parametrize("sizes", [(4, 9), (6, 1, 6), (1,) * 13])
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
    inputs = {name: tensor.detach() for name, tensor in make_inputs(9).items()}
    whole = through_blocks(inputs, rule, mode, 0)["out"]
    for t, name in itertools.product(range(9), ("query", "key", "value", "step", "retain", "momentum")):
        changed = dict(inputs)
        changed[name] = inputs[name].clone()
        changed[name][:, t] *= 0.5
        out = through_blocks(changed, rule, mode, 0)["out"]
        seen = t + 1 if mode != "after" and name != "query" else t
        torch.testing.assert_close(out[:, :seen], whole[:, :seen], rtol=1e-13, atol=1e-13)


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
    assert all(part.dtype != torch.bfloat16 for name, part in got.items() if name != "out")
    torch.testing.assert_close(got["matrix"].double(), want["matrix"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("chunk", [1, 16, 48])
@pytest.mark.parametrize("optimizer", OPTIMIZERS[1:])
def test_float32_keeps_its_digits(optimizer: str, chunk: int) -> None:
    rule = LinearRule("l2", chunk=chunk, optimizer=optimizer)
    exact = {name: tensor.detach() for name, tensor in make_inputs(100).items()}
    exact["step"] = 0.3 * exact["step"]
    single = {name: tensor.float() for name, tensor in exact.items()}
    got, want = (through_blocks(x, rule, "after", 0, 32)["out"].double() for x in (single, exact))
    assert ((got - want).norm() / want.norm()) < 3e-6


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("toward", ["zero", "init"])
@pytest.mark.parametrize(
    ("chunk", "mode", "tokens", "position", "block"),
    [(None, "after", 7, 0, 4), (3, "anchor", 11, 2, 4), (3, "before", 19, 1, 32)],
)
def test_a_retain_per_key_channel_equals_the_loop(
    chunk: int | None, mode: str, tokens: int, position: int, block: int, toward: str, zeros: bool
) -> None:
    rule = LinearRule("dot", chunk=chunk, toward=toward)
    assert_equals_loop(rule, mode, tokens, position, block, zeros=zeros, per_channel=True)
    assert_equals_loop(
        LinearRule("dot", 1, chunk, "stop"), mode, tokens, position, block, zeros=zeros, per_channel=True
    )


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("gradient", ["through", "stop"])
@pytest.mark.parametrize("toward", ["zero", "init"])
@pytest.mark.parametrize(("objective", "optimizer"), [("l2", "gd"), ("l2", "dgd"), ("dot", "dgd")])
@pytest.mark.parametrize(("mode", "tokens"), [("after", 1), ("after", 7), ("before", 19)])
def test_a_decay_along_the_key_beside_one_per_channel_equals_the_loop(
    mode: str, tokens: int, objective: str, optimizer: str, toward: str, gradient: str, zeros: bool
) -> None:
    rule = LinearRule(objective, 1, 1, gradient, optimizer, toward)
    for block in (4, 32):
        assert_equals_loop(rule, mode, tokens, 0, block, zeros=zeros and tokens > 2, per_channel=True)


@pytest.mark.parametrize(
    "rule",
    [
        LinearRule("l2", chunk=2, optimizer="dgd"),
        LinearRule("lp", chunk=1),
        LinearRule("dot", optimizer="momentum"),
        LinearRule("dot", period=2),
    ],
)
def test_a_retain_per_key_channel_is_refused_where_there_is_no_form(rule: LinearRule) -> None:
    with pytest.raises(ValueError, match="retain per key channel"):
        through_blocks(make_inputs(4, per_channel=True), rule, "after", 0)


def test_momentum_is_asked_for_where_the_rule_has_it_and_refused_elsewhere() -> None:
    x = make_inputs(3)
    flows = (x["key"], x["value"], x["step"], x["retain"])
    state = initial_state(x["matrix"], LinearRule(optimizer="momentum"))
    with pytest.raises(ValueError, match="needs a momentum"):
        learn(*flows, state, LinearRule(optimizer="momentum"))
    with pytest.raises(ValueError, match="has no momentum"):
        learn(*flows, state, LinearRule(), momentum=x["momentum"])


def test_without_decay_or_past_the_forms_are_one_another() -> None:
    """μ = 0 is no momentum; p = 2 is l2; α = 1 leads nowhere."""
    inputs = make_inputs(13)
    still = {**inputs, "momentum": torch.zeros_like(inputs["momentum"])}
    kept = {**inputs, "retain": torch.ones_like(inputs["retain"])}
    want = through_blocks(inputs, LinearRule("l2", chunk=5, optimizer="dgd"), "after", 0)["out"]
    for objective, optimizer in (("l2", "dgd_momentum"), ("lp", "dgd_momentum"), ("lp", "dgd")):
        got = through_blocks(still, LinearRule(objective, chunk=5, optimizer=optimizer), "after", 0)["out"]
        torch.testing.assert_close(got, want)
    for optimizer in OPTIMIZERS:
        zero, init = (
            through_blocks(kept, LinearRule("l2", chunk=5, optimizer=optimizer, toward=toward), "after", 0)[
                "out"
            ]
            for toward in ("zero", "init")
        )
        torch.testing.assert_close(init, zero)


def test_a_truncated_graph_ends_where_the_caller_cuts_it() -> None:
    rule, inputs = LinearRule("l2", chunk=3, optimizer="momentum", toward="init"), make_inputs(6)
    state = initial_state(inputs["matrix"] * 1.0, rule)
    _, state = learn_all({name: tensor[:, :3] for name, tensor in inputs.items()}, state, rule)
    cut = detach_state(state)
    assert_same(cut, state)
    assert [name for name, part in cut.items() if part.requires_grad] == ["start"]
    second = {name: tensor[:, 3:] for name, tensor in inputs.items()}
    _, following = learn_all(second, cut, rule)
    found = gradients({"matrix": following["matrix"]}, inputs)
    assert not found["key"][:, :3].any()
    assert found["key"][:, 3:].any()
    assert found["matrix"].any()


# torch's own, on the first import of its compiler
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["dgd", "dgd_momentum"])
def test_compiled_chunks_that_begin_with_the_call_equal_eager_ones(optimizer: str) -> None:
    torch.compiler.reset()
    rule, inputs = LinearRule("l2", chunk=4, optimizer=optimizer), make_inputs(8)

    def run(*flows: torch.Tensor) -> dict[str, torch.Tensor]:
        given = dict(zip(NAMES, flows, strict=True))
        return through_blocks(given, rule, "after", 0, aligned=True)

    got = torch.compile(run, fullgraph=True, dynamic=False)(*inputs.values())
    want = run(*inputs.values())
    assert list(inputs) == list(NAMES)
    assert_same(got, want)
    assert_same(gradients(got, inputs), gradients(want, inputs))
