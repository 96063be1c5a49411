"""The two-layer memory: the fast form equals the loop, in value and in every gradient."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.ops.deep_memory import Rule, State, detach_state, initial_state, learn, naive, read
from nestdsl.runtime.ops.deep_memory.pointwise import activate, curvature, error, error_slope, slope

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


def state_at(inputs: dict[str, Tensor], rule: Rule, position: int) -> State:
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


def flows_of(inputs: dict[str, Tensor], rule: Rule) -> list[Tensor | None]:
    return [inputs[name] if name != "momentum" or rule.has_momentum else None for name in FLOWS]


def through_loop(inputs: dict[str, Tensor], rule: Rule, mode: str, position: int = 0) -> dict[str, Tensor]:
    flows = flows_of(inputs, rule)
    out, state = naive.remember(*flows, state_at(inputs, rule, position), rule, mode)
    return {"out": out, **state}


def through_chunks(
    inputs: dict[str, Tensor], rule: Rule, mode: str, position: int = 0, aligned: bool = False
) -> dict[str, Tensor]:
    query, *flows = flows_of(inputs, rule)
    trajectory, state = learn(*flows, state_at(inputs, rule, position), rule, aligned=aligned)
    return {"out": read(trajectory, query, mode, rule), **state}


def gradients(results: dict[str, Tensor], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a fixed random weighing of everything the memory gave back."""
    generator = torch.Generator().manual_seed(7)
    total = torch.zeros((), dtype=torch.float64)
    for name in sorted(results):
        if results[name].is_floating_point():
            weights = torch.randn(results[name].shape, generator=generator, dtype=torch.float64)
            total = total + (weights * results[name]).sum()
    found = torch.autograd.grad(total, list(inputs.values()), allow_unused=True)
    return {
        name: torch.zeros_like(tensor) if grad is None else grad
        for (name, tensor), grad in zip(inputs.items(), found, strict=True)
    }


def assert_same(left: dict[str, Tensor], right: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(
            left[name],
            right[name],
            rtol=tolerance,
            atol=tolerance,
            msg=lambda text, name=name: f"{name}: {text}",
        )


def assert_equals_loop(
    tokens: int,
    rule: Rule,
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
    assert_equals_loop(tokens, Rule("l2", optimizer, toward=toward, chunk=chunk), mode, position)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("toward", ["zero", "init"])
@pytest.mark.parametrize("mode", ["after", "before", "anchor"])
@pytest.mark.parametrize(
    ("tokens", "period", "position"), [(9, 2, 1), (1, 5, 4), (1, 5, 0), (13, 5, 3), (9, 40, 35), (9, 40, 2)]
)
def test_periods_equal_the_loop(
    optimizer: str, toward: str, mode: str, tokens: int, period: int, position: int
) -> None:
    assert_equals_loop(tokens, Rule("l2", optimizer, toward=toward, period=period), mode, position)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rule", [Rule(chunk=4), Rule(period=4), Rule(chunk=20)])
@pytest.mark.parametrize("tokens", [3, 8, 10])
def test_a_call_that_begins_with_a_chunk_may_say_so(optimizer: str, rule: Rule, tokens: int) -> None:
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
        rule = Rule(objective, optimizer, activation, residual=value_size == K, p=p, chunk=3)
        assert_equals_loop(7, rule, "after", 1, value_size=value_size)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("rule", [Rule(chunk=5), Rule(period=3), Rule(chunk=16, toward="init")])
def test_a_factor_of_zero_erases_and_keeps_its_gradient(optimizer: str, rule: Rule) -> None:
    assert_equals_loop(13, replace(rule, optimizer=optimizer), "after", zeros=True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("toward", ["zero", "init"])
@pytest.mark.parametrize(("chunk", "period", "mode"), [(1, 1, "before"), (5, 1, "anchor"), (1, 3, "after")])
def test_stopped_gradient_reaches_query_and_start_only(
    optimizer: str, toward: str, chunk: int, period: int, mode: str
) -> None:
    inputs = make_inputs(13)
    rule = Rule("l2", optimizer, toward=toward, chunk=chunk, period=period, gradient="stop")
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
    rule = Rule(objective, activation=activation, p=p)
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
    for rule in (Rule("l2"), Rule("dot"), Rule("lp", p=1.0), Rule("lp", p=1.5), Rule("lp", p=3.0)):
        value = torch.zeros_like(z)
        value[:3] = z[:3].detach()
        (want,) = torch.autograd.grad(error(z, value, rule).sum() + 0 * z.sum(), z)
        got = torch.as_tensor(error_slope(z, value, rule), dtype=z.dtype).expand_as(z)
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


RULES = [
    (Rule("l2", "dgd", chunk=5), "after"),
    (Rule("l2", "gd", chunk=5, toward="init"), "anchor"),
    (Rule("dot", "dgd_momentum", chunk=5), "before"),
    (Rule("l2", "momentum", chunk=1), "after"),
    (Rule("l2", "dgd_momentum", period=4, toward="init"), "after"),
]


@pytest.mark.parametrize(("rule", "mode"), RULES)
@pytest.mark.parametrize("sizes", [(13,), (4, 9), (5, 8), (6, 1, 6), (1,) * 13])
def test_whole_equals_split_anywhere(rule: Rule, mode: str, sizes: tuple[int, ...]) -> None:
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
def test_rows_are_independent(rule: Rule, mode: str) -> None:
    inputs = make_inputs(13)
    whole = through_chunks(inputs, rule, mode)["out"]
    for row in range(B):
        alone = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
        torch.testing.assert_close(through_chunks(alone, rule, mode)["out"], whole[row : row + 1])


@pytest.mark.parametrize(("rule", "mode"), RULES)
def test_no_token_sees_a_later_one(rule: Rule, mode: str) -> None:
    inputs = {name: tensor.detach() for name, tensor in make_inputs(13).items()}
    whole = through_chunks(inputs, rule, mode)["out"]
    for t, name in itertools.product(range(13), FLOWS):
        changed = {**inputs, name: inputs[name].clone()}
        changed[name][:, t] *= 0.5
        out = through_chunks(changed, rule, mode)["out"]
        seen = t + 1 if mode != "after" and name != "query" else t
        assert torch.equal(out[:, :seen], whole[:, :seen])


def test_one_trajectory_answers_many_queries_in_many_ways() -> None:
    rule, inputs = Rule("l2", "dgd", chunk=5), make_inputs(13)
    query, *flows = flows_of(inputs, rule)
    trajectory, _ = learn(*flows, state_at(inputs, rule, 2), rule)
    for mode, scale in itertools.product(("after", "before", "anchor"), (1.0, -2.0)):
        want = through_loop({**inputs, "query": scale * query}, rule, mode, 2)["out"]
        torch.testing.assert_close(read(trajectory, scale * query, mode, rule), want)


@pytest.mark.parametrize("optimizer", ["dgd_momentum", "gd"])
def test_gradcheck(optimizer: str) -> None:
    rule = Rule("l2", optimizer, chunk=2, toward="init")
    inputs = make_inputs(3)

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        got = through_chunks(dict(zip(inputs, tensors, strict=True)), rule, "after", 1)
        return got["out"], got["inner"], got["outer"]

    row = tuple(tensor[:1].detach().requires_grad_() for tensor in inputs.values())
    assert torch.autograd.gradcheck(run, row)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("rule", "mode"), RULES)
def test_half_precision_flows_keep_a_float32_state(rule: Rule, mode: str, autocast: bool) -> None:
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
    rule = Rule("l2", optimizer, chunk=32)
    got, want = (through_chunks(x, rule, "after")["out"].double() for x in (single, exact))
    assert ((got - want).norm() / want.norm()) < 1e-5


@pytest.mark.parametrize("rule", [Rule(), Rule("lp", p=1.5), Rule(activation="relu")])
def test_padding_and_exact_answers_give_finite_gradients(rule: Rule) -> None:
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
        (Rule("l2", "dgd", chunk=5), "after", "aot_eager"),
        *(
            pytest.param(rule, mode, "inductor", marks=pytest.mark.slow)
            for rule, mode in (
                (Rule("l2", "dgd", chunk=5), "after"),
                (Rule("l2", "dgd_momentum", chunk=5, toward="init"), "anchor"),
                (Rule("lp", "momentum", chunk=5, p=1.5, gradient="stop"), "after"),
                (Rule("l2", "gd", period=4), "after"),
            )
        ),
    ],
)
def test_compiled_equals_eager_at_every_position_without_recompiling(
    rule: Rule, mode: str, backend: str
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
        Rule(**wrong)


def test_what_does_not_fit_the_rule_is_refused() -> None:
    inputs = make_inputs(4, value_size=5)
    with pytest.raises(ValueError, match="cannot answer 3 features with 5"):
        through_chunks(inputs, Rule(), "after")
    with pytest.raises(ValueError, match="read must be"):
        through_chunks(make_inputs(4), Rule(), "later")
    x = make_inputs(4)
    for optimizer, momentum, message in (
        ("momentum", None, "needs a momentum"),
        ("gd", x["momentum"], "has no momentum"),
    ):
        rule = Rule("l2", optimizer)
        with pytest.raises(ValueError, match=message):
            learn(x["key"], x["value"], x["step"], x["retain"], momentum, state_at(x, rule, 0), rule)
    with pytest.raises(ValueError, match="per channel"):
        learn(x["key"], x["value"], x["step"], x["key"], None, state_at(x, Rule(), 0), Rule())


def test_a_cut_state_still_decays_to_the_parameters() -> None:
    inputs, rule = make_inputs(4), Rule("l2", "dgd_momentum", toward="init", chunk=3)
    _, *flows = flows_of(inputs, rule)
    _, state = learn(*flows, state_at(inputs, rule, 0), rule)
    cut = detach_state(state)
    assert {name for name, part in cut.items() if part.requires_grad} == {"start_inner", "start_outer"}
    assert_same(cut, state)
