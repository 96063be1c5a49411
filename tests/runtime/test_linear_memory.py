"""The linear memory: the fast form equals the loop, in value and in every gradient."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.ops.linear_memory import Rule, State, initial_state, learn, naive, read

B, H, K, V = 2, 2, 3, 4
NAMES = ("query", "key", "value", "step", "retain", "matrix")


def make_inputs(tokens: int, seed: int = 0, zeros: bool = False) -> dict[str, Tensor]:
    """Inputs as `naive.remember` takes them, in float64, each of which wants its gradient."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    retain = torch.sigmoid(2.0 + normal(B, tokens, H))
    if zeros:
        retain[:, 1::3] = 0.0
        retain[:, 2, 0] = 1.0
        retain[:, ::5, 1] = 1e-9
    inputs = {
        "query": normal(B, tokens, H, K),
        "key": torch.nn.functional.normalize(normal(B, tokens, H, K), dim=-1),
        "value": normal(B, tokens, H, V),
        "step": torch.sigmoid(normal(B, tokens, H)),
        "retain": retain,
        "matrix": normal(B, H, K, V),
    }
    return {name: tensor.requires_grad_() for name, tensor in inputs.items()}


def state_at(matrix: Tensor, rule: Rule, position: int) -> State:
    """A state in the middle of a chunk or period, every part of which hangs on `matrix`."""
    state = initial_state(matrix, rule)
    if "position" in state:
        state["position"] = state["position"] + position
    if "anchor" in state:
        state["anchor"] = (matrix * 0.5).cos() if position else matrix
    if "gradient" in state and position:
        state["gradient"] = matrix.sin()
        state["retain"] = state["retain"] + 0.7 * position + 0.01 * matrix.sum((-1, -2))
    return state


def through_loop(inputs: dict[str, Tensor], rule: Rule, mode: str, position: int) -> dict[str, Tensor]:
    x = inputs
    state = state_at(x["matrix"], rule, position)
    out, _, following = naive.remember(
        x["query"], x["key"], x["value"], x["step"], x["retain"], state, rule, mode
    )
    return {"out": out, **following}


def through_blocks(
    inputs: dict[str, Tensor], rule: Rule, mode: str, position: int, block: int = 4
) -> dict[str, Tensor]:
    x = inputs
    state = state_at(x["matrix"], rule, position)
    trajectory, following = learn(x["key"], x["value"], x["step"], x["retain"], state, rule, block=block)
    return {"out": read(trajectory, x["query"], mode, rule), **following}


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
    tokens: int, rule: Rule, mode: str, position: int, block: int, zeros: bool = False
) -> None:
    inputs = make_inputs(tokens, zeros=zeros)
    want, got = (
        through_loop(inputs, rule, mode, position),
        through_blocks(inputs, rule, mode, position, block),
    )
    assert_same(got, want)
    assert_same(gradients(got, inputs), gradients(want, inputs))


@pytest.mark.parametrize("objective", ["l2", "dot"])
@pytest.mark.parametrize("mode", ["after", "before"])
@pytest.mark.parametrize(
    ("tokens", "block"), [(1, 32), (2, 32), (11, 4), (12, 4), (19, 32), (37, 32), (50, 48)]
)
def test_every_token_equals_the_loop(objective: str, mode: str, tokens: int, block: int) -> None:
    assert_equals_loop(tokens, Rule(objective), mode, 0, block)


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
    assert_equals_loop(tokens, Rule(objective, chunk=chunk), mode, position, block)


@pytest.mark.parametrize("objective", ["l2", "dot"])
@pytest.mark.parametrize("mode", ["after", "before", "anchor"])
@pytest.mark.parametrize(
    ("tokens", "period", "position"),
    [(13, 2, 1), (1, 5, 4), (1, 5, 0), (13, 5, 3), (20, 4, 0), (9, 40, 35), (9, 40, 2)],
)
def test_periods_equal_the_loop(objective: str, mode: str, tokens: int, period: int, position: int) -> None:
    assert_equals_loop(tokens, Rule(objective, period=period), mode, position, 4)


@pytest.mark.parametrize("rule", [Rule("l2"), Rule("dot"), Rule("l2", chunk=5), Rule("l2", period=3)])
def test_a_factor_of_zero_erases_and_keeps_its_gradient(rule: Rule) -> None:
    assert_equals_loop(19, rule, "anchor" if rule.keeps_anchor else "after", 0, 16, zeros=True)


@pytest.mark.parametrize(
    "rule",
    [
        Rule(objective, *rest, "stop")
        for objective in ("l2", "dot")
        for rest in ((1, None), (1, 5), (3, None))
    ],
)
def test_stopped_gradient_reaches_query_and_start_only(rule: Rule) -> None:
    inputs = make_inputs(13)
    mode = "anchor" if rule.keeps_anchor else "after"
    want, got = through_loop(inputs, rule, mode, 0), through_blocks(inputs, rule, mode, 0)
    found = gradients(got, inputs)
    assert_same(got, want)
    assert_same(found, gradients(want, inputs))
    assert [name for name in NAMES if found[name].abs().max() > 0] == ["query", "matrix"]
    through = Rule(rule.objective, rule.period, rule.chunk, "through")
    assert_same(got, through_blocks(inputs, through, mode, 0))


RULES = [
    (Rule("l2"), "after"),
    (Rule("dot"), "before"),
    (Rule("l2", chunk=5), "anchor"),
    (Rule("l2", period=4), "after"),
    (Rule("dot", period=4), "before"),
]


@pytest.mark.parametrize(("rule", "mode"), RULES)
@pytest.mark.parametrize("sizes", [(13,), (4, 9), (5, 8), (6, 1, 6), (1,) * 13])
def test_whole_equals_split_anywhere(rule: Rule, mode: str, sizes: tuple[int, ...]) -> None:
    inputs = make_inputs(13)
    pieces = {name: inputs[name].split(sizes, 1) for name in NAMES if name != "matrix"}
    state, outputs = initial_state(inputs["matrix"], rule), []
    for i in range(len(sizes)):
        piece = {name: parts[i] for name, parts in pieces.items()}
        trajectory, state = learn(
            piece["key"], piece["value"], piece["step"], piece["retain"], state, rule, block=4
        )
        outputs.append(read(trajectory, piece["query"], mode, rule))
    got = {"out": torch.cat(outputs, 1), **state}
    want = through_loop(inputs, rule, mode, 0)
    assert_same(got, want)
    assert_same(gradients(got, inputs), gradients(want, inputs))


@pytest.mark.parametrize(("rule", "mode"), RULES)
def test_rows_are_independent(rule: Rule, mode: str) -> None:
    inputs = make_inputs(13)
    whole = through_blocks(inputs, rule, mode, 0)["out"]
    for row in range(B):
        alone = {name: tensor[row : row + 1] for name, tensor in inputs.items()}
        torch.testing.assert_close(through_blocks(alone, rule, mode, 0)["out"], whole[row : row + 1])


@pytest.mark.parametrize(("rule", "mode"), RULES)
def test_no_token_sees_a_later_one(rule: Rule, mode: str) -> None:
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
    rule, inputs = Rule("l2", chunk=5), make_inputs(13)
    x = inputs
    state = state_at(x["matrix"], rule, 2)
    trajectory, _ = learn(x["key"], x["value"], x["step"], x["retain"], state, rule, block=4)
    for mode, scale in itertools.product(("after", "before", "anchor"), (1.0, -2.0)):
        asked = {**x, "query": scale * x["query"]}
        want = through_loop(asked, rule, mode, 2)["out"]
        torch.testing.assert_close(read(trajectory, asked["query"], mode, rule), want)


def test_gradcheck() -> None:
    rule = Rule("l2", chunk=2)
    inputs = make_inputs(4)

    def run(*tensors: Tensor) -> tuple[Tensor, ...]:
        got = through_blocks(dict(zip(NAMES, tensors, strict=True)), rule, "after", 1, block=2)
        return got["out"], got["matrix"], got["anchor"]

    row = tuple(inputs[name][:1].detach().requires_grad_() for name in NAMES)
    assert torch.autograd.gradcheck(run, row)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("rule", "mode"), RULES)
def test_half_precision_flows_keep_a_float32_state(rule: Rule, mode: str, autocast: bool) -> None:
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
    got, want = (through_blocks(x, Rule("l2"), "after", 0, block)["out"].double() for x in (single, exact))
    assert ((got - want).norm() / want.norm()) < 1e-6


# torch's own, on the first import of its compiler
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize(
    ("rule", "mode"),
    [
        (Rule("l2"), "after"),
        pytest.param(Rule("l2", chunk=5), "anchor", marks=pytest.mark.slow),
        pytest.param(Rule("l2", period=4), "after", marks=pytest.mark.slow),
    ],
)
def test_compiled_equals_eager_at_every_position_without_recompiling(rule: Rule, mode: str) -> None:
    torch.compiler.reset()
    inputs = make_inputs(9)

    def run(
        state: State, query: Tensor, key: Tensor, value: Tensor, step: Tensor, retain: Tensor
    ) -> dict[str, Tensor]:
        trajectory, following = learn(key, value, step, retain, state, rule, block=4)
        return {"out": read(trajectory, query, mode, rule), **following}

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


@pytest.mark.parametrize("wrong", [{"objective": "l3"}, {"period": 0}, {"chunk": 0}, {"gradient": "half"}])
def test_a_rule_out_of_range_is_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Rule(**wrong)


def test_a_read_that_the_rule_keeps_nothing_for_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a chunk"):
        through_blocks(make_inputs(4), Rule(), "anchor", 0)
    with pytest.raises(ValueError, match="multiple of 16"):
        through_blocks(make_inputs(4), Rule(), "after", 0, block=20)
