"""What holds for every two-layer memory: splits, rows, causality, precision, compilation; what it refuses."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.ops.deep_memory import DeepRule, State, detach_state, initial_state, learn, read
from nestdsl.runtime.ops.deep_memory import scan as deep_scan
from nestdsl.runtime.ops.deep_memory.scan import deep_scan as operator
from tests.runtime.deep_memories import (
    FLOWS,
    OPTIMIZERS,
    B,
    flows_of,
    make_inputs,
    state_at,
    through_chunks,
    through_loop,
)
from tests.runtime.results import assert_same, gradients

RULES = [
    (DeepRule("l2", "dgd", chunk=5), "after"),
    (DeepRule("l2", "gd", chunk=5, toward="init"), "anchor"),
    (DeepRule("dot", "dgd_momentum", chunk=5), "before"),
    (DeepRule("l2", "momentum", chunk=1), "after"),
    (DeepRule("l2", "dgd_momentum", period=4, toward="init"), "after"),
]


@pytest.mark.parametrize(("rule", "mode"), RULES)
@pytest.mark.parametrize("sizes", [(13,), (4, 9), (5, 8), (6, 1, 6), (1,) * 13])
def test_whole_equals_split_anywhere(rule: DeepRule, mode: str, sizes: tuple[int, ...]) -> None:
    inputs = make_inputs(13)
    pieces = [(None,) * len(sizes) if f is None else f.split(sizes, 1) for f in flows_of(inputs, rule)]
    state, outputs = initial_state(inputs["inner"], inputs["outer"], rule), []
    for i in range(len(sizes)):
        query, *flows = (piece[i] for piece in pieces)
        trajectory, state = learn(*flows, state, rule)
        outputs.append(read(trajectory, query, mode, rule))
    got = {"out": torch.cat(outputs, 1), **state}
    want = through_loop(inputs, rule, mode)
    assert_same(got, want)
    assert_same(gradients(got, inputs), gradients(want, inputs))


@pytest.mark.parametrize(("rule", "mode"), RULES)
def test_rows_are_independent(rule: DeepRule, mode: str) -> None:
    inputs = make_inputs(13)
    whole = through_chunks(inputs, rule, mode)["out"]
    for row in range(B):
        alone = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
        torch.testing.assert_close(through_chunks(alone, rule, mode)["out"], whole[row : row + 1])


@pytest.mark.parametrize(("rule", "mode"), RULES)
def test_no_token_sees_a_later_one(rule: DeepRule, mode: str) -> None:
    inputs = {name: tensor.detach() for name, tensor in make_inputs(13).items()}
    whole = through_chunks(inputs, rule, mode)["out"]
    for t, name in itertools.product(range(13), FLOWS):
        changed = {**inputs, name: inputs[name].clone()}
        changed[name][:, t] *= 0.5
        out = through_chunks(changed, rule, mode)["out"]
        seen = t + 1 if mode != "after" and name != "query" else t
        assert torch.equal(out[:, :seen], whole[:, :seen])


def test_one_trajectory_answers_many_queries_in_many_ways() -> None:
    rule, inputs = DeepRule("l2", "dgd", chunk=5), make_inputs(13)
    query, *flows = flows_of(inputs, rule)
    trajectory, _ = learn(*flows, state_at(inputs, rule, 2), rule)
    for mode, scale in itertools.product(("after", "before", "anchor"), (1.0, -2.0)):
        want = through_loop({**inputs, "query": scale * query}, rule, mode, 2)["out"]
        torch.testing.assert_close(read(trajectory, scale * query, mode, rule), want)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("rule", "mode"), RULES)
def test_half_precision_flows_keep_a_float32_state(rule: DeepRule, mode: str, autocast: bool) -> None:
    inputs = {name: tensor.detach().to(torch.bfloat16) for name, tensor in make_inputs(13).items()}
    exact = {name: tensor.double() for name, tensor in inputs.items()}
    inputs |= {name: inputs[name].float() for name in ("inner", "outer")}
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        got = through_chunks(inputs, rule, mode)
    want = through_chunks(exact, rule, mode)
    assert got["out"].dtype == torch.bfloat16
    for name in ("inner", "outer"):
        assert got[name].dtype == torch.float32
        torch.testing.assert_close(got[name].double(), want[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float32_keeps_its_digits(optimizer: str) -> None:
    exact = {name: tensor.detach() for name, tensor in make_inputs(200).items()}
    exact["step"] *= 0.1  # many stale gradients at once: larger steps diverge with momentum, in any precision
    single = {name: tensor.float() for name, tensor in exact.items()}
    rule = DeepRule("l2", optimizer, chunk=32)
    got, want = (through_chunks(x, rule, "after")["out"].double() for x in (single, exact))
    assert ((got - want).norm() / want.norm()) < 1e-5


@pytest.mark.parametrize("rule", [DeepRule(), DeepRule("lp", p=1.5), DeepRule(activation="relu")])
def test_padding_and_exact_answers_give_finite_gradients(rule: DeepRule) -> None:
    rule = replace(rule, optimizer="dgd", chunk=4)
    inputs = make_inputs(5)
    for name in ("key", "value"):
        inputs[name] = torch.zeros_like(inputs[name]).requires_grad_()
    found = gradients(through_chunks(inputs, rule, "after", aligned=True), inputs)
    assert all(grad.isfinite().all() for grad in found.values())


# torch's own, on the first import of its compiler
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("rule", "mode", "backend"),
    [
        (DeepRule("l2", "dgd", chunk=5), "after", "aot_eager"),
        *(
            pytest.param(rule, mode, "inductor", marks=pytest.mark.slow)
            for rule, mode in (
                (DeepRule("l2", "dgd", chunk=5), "after"),
                (DeepRule("l2", "dgd_momentum", chunk=5, toward="init"), "anchor"),
                (DeepRule("lp", "momentum", chunk=5, p=1.5, gradient="stop"), "after"),
                (DeepRule("l2", "gd", period=4), "after"),
            )
        ),
    ],
)
def test_compiled_equals_eager_at_every_position_without_recompiling(
    rule: DeepRule, mode: str, backend: str
) -> None:
    torch.compiler.reset()
    inputs = make_inputs(7)

    def run(state: State, query: Tensor, *flows: Tensor | None) -> dict[str, Tensor]:
        trajectory, following = learn(*flows, state, rule)
        return {"out": read(trajectory, query, mode, rule), **following}

    compiled = torch.compile(run, fullgraph=True, dynamic=False, backend=backend)
    flows = flows_of(inputs, rule)
    for position in range(4):
        state = state_at(inputs, rule, 0)
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
        {"optimizer": "adam"},
        {"activation": "sign"},
        {"toward": "one"},
        {"period": 0},
        {"chunk": 0},
        {"p": 0.5},
        {"gradient": "half"},
    ],
)
def test_a_rule_out_of_range_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DeepRule(**wrong)


def test_what_does_not_fit_the_rule_is_refused() -> None:
    inputs = make_inputs(4, value_size=5)
    with pytest.raises(ValueError, match="cannot answer 3 features with 5"):
        through_chunks(inputs, DeepRule(), "after")
    with pytest.raises(ValueError, match="read must be"):
        through_chunks(make_inputs(4), DeepRule(), "later")
    x = make_inputs(4)
    for optimizer, momentum, message in (
        ("momentum", None, "needs a momentum"),
        ("gd", x["momentum"], "has no momentum"),
    ):
        rule = DeepRule("l2", optimizer)
        with pytest.raises(ValueError, match=message):
            learn(x["key"], x["value"], x["step"], x["retain"], momentum, state_at(x, rule, 0), rule)
    with pytest.raises(ValueError, match="per channel"):
        learn(x["key"], x["value"], x["step"], x["key"], None, state_at(x, DeepRule(), 0), DeepRule())


def test_a_cut_state_still_decays_to_the_parameters() -> None:
    inputs, rule = make_inputs(4), DeepRule("l2", "dgd_momentum", toward="init", chunk=3)
    _, *flows = flows_of(inputs, rule)
    _, state = learn(*flows, state_at(inputs, rule, 0), rule)
    cut = detach_state(state)
    assert {name for name, part in cut.items() if part.requires_grad} == {"start_inner", "start_outer"}
    assert_same(cut, state)


@pytest.mark.parametrize("optimizer", ["gd", "dgd_momentum"])
def test_the_operator_is_what_its_fake_says_whatever_the_order_of_its_inputs(optimizer: str) -> None:
    """A compiler may hand over chunks in any order of extents: results are contiguous still."""
    rule = DeepRule("l2", optimizer, chunk=4)
    inputs = make_inputs(12)
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep_scan, "deep_scan", lambda *given: calls.append(given) or operator(*given))
        through_chunks(inputs, rule, "after")
    ((parts, *options),) = calls
    turned = [part.detach().transpose(1, -2).contiguous().transpose(1, -2) for part in parts]
    for ordered in (parts, turned):
        given = [part.detach().requires_grad_() for part in ordered]
        torch.library.opcheck(
            torch.ops.nestdsl.deep_scan.default,
            (given, *options),
            test_utils=("test_schema", "test_faketensor"),
        )
        found = operator(given, *options)
        assert all(part.is_contiguous() for part in found)
        back = (given, options[0], [part.detach() for part in found], [part.detach().sin() for part in found])
        torch.library.opcheck(
            torch.ops.nestdsl.deep_scan_backward.default,
            (*back, *options[1:]),
            test_utils=("test_schema", "test_faketensor"),
        )
