"""The `matrix` kind: options, starts, flat flows; the recurrence itself is tested with the op."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nestdsl.runtime.kinds.matrix import BlockLinear, Matrix
from nestdsl.runtime.kinds.weights import Start
from nestdsl.runtime.ops.linear_memory import LinearRule, initial_state, naive


def flows(batch: int, tokens: int, *sizes: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(batch, tokens, size, generator=generator, dtype=torch.float64) for size in sizes]


def make(**options) -> Matrix:
    torch.manual_seed(0)
    return Matrix(6, 4, heads=2, **options).double()


@pytest.mark.parametrize("objective", ["l2", "dot"])
@pytest.mark.parametrize(
    ("read", "period", "chunk"), [("after", 1, 1), ("before", 1, 16), ("anchor", 1, 4), ("after", 4, 1)]
)
def test_it_follows_the_recurrence_head_by_head(objective: str, read: str, period: int, chunk: int) -> None:
    matrix = make(objective=objective, read=read, period=period, chunk=chunk)
    query, key, value, step, retain = flows(3, 10, 6, 6, 4, 2, 1)
    step, retain = step.sigmoid(), retain.sigmoid()
    trajectory, state = matrix.learn(key, value, matrix.init_state(3), step, retain)
    out = matrix.read(trajectory, query)

    assert isinstance(matrix.weight, nn.Parameter)
    for head in range(2):
        rule = LinearRule(objective, period, chunk if read == "anchor" else None)
        k, v = slice(3 * head, 3 * head + 3), slice(2 * head, 2 * head + 2)
        want, _, following = naive.remember(
            query[..., None, k],
            key[..., None, k],
            value[..., None, v],
            step[..., head : head + 1],
            retain,
            initial_state(matrix.weight[None, head : head + 1].expand(3, 1, 3, 2), rule),
            rule,
            read,
        )
        torch.testing.assert_close(out[..., v], want.squeeze(2), rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(state["matrix"][:, head : head + 1], following["matrix"])


@pytest.mark.parametrize(
    ("optimizer", "objective", "read", "period"),
    [
        ("dgd", "l2", "after", 1),
        ("momentum", "l2", "before", 1),
        ("dgd_momentum", "lp", "anchor", 1),
        ("momentum", "dot", "after", 4),
    ],
)
def test_other_optimizers_follow_theirs(optimizer: str, objective: str, read: str, period: int) -> None:
    options = {"optimizer": optimizer, "objective": objective, "period": period, "chunk": 4, "p": 3.0}
    matrix = make(read=read, toward="init", **options)
    query, key, value, step, retain, momentum = flows(3, 10, 6, 6, 4, 2, 1, 2)
    step, retain, momentum = step.sigmoid(), retain.sigmoid(), momentum.sigmoid()
    trajectory, state = matrix.learn(key, value, matrix.init_state(3), step, retain, momentum, aligned=True)
    rule = LinearRule(objective, period, 4, optimizer=optimizer, toward="init", p=3.0)
    want, _, following = naive.remember(
        query.unflatten(-1, (2, 3)),
        key.unflatten(-1, (2, 3)),
        value.unflatten(-1, (2, 2)),
        step,
        retain.expand(-1, -1, 2),
        initial_state(matrix.init_state(3)["start"], rule),
        rule,
        read,
        momentum if rule.has_momentum else None,
    )
    torch.testing.assert_close(matrix.read(trajectory, query), want.flatten(-2), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(state["matrix"], following["matrix"])


def test_retain_may_have_one_value_per_key_channel() -> None:
    matrix = make(objective="dot")
    query, key, value, retain = flows(2, 5, 6, 6, 4, 6)
    trajectory, _ = matrix.learn(key, value, matrix.init_state(2), 0.5, retain.sigmoid())
    out = matrix.read(trajectory, query).unflatten(-1, (2, 2))
    state = matrix.init_state(2)["matrix"]
    for t in range(5):
        k, v, q = (flow[:, t].unflatten(-1, (2, -1)) for flow in (key, value, query))
        fade = retain[:, t].sigmoid().unflatten(-1, (2, -1)).unsqueeze(-1)
        state = fade * state + 0.5 * k.unsqueeze(-1) * v.unsqueeze(-2)
        torch.testing.assert_close(out[:, t], torch.einsum("bhk,bhkv->bhv", q, state))
    lp = make(objective="lp", p=3.0)
    with pytest.raises(ValueError, match="retain per key channel"):
        lp.learn(key, value, lp.init_state(2), 0.5, retain.sigmoid())


def test_only_what_a_rule_needs_is_carried() -> None:
    assert make(chunk=4).init_state(1).keys() == {"matrix"}
    assert make(chunk=4, objective="dot", optimizer="dgd").init_state(1).keys() == {"matrix"}
    assert make(chunk=4, optimizer="dgd").init_state(1).keys() == {"matrix", "anchor", "position"}
    assert make(optimizer="momentum", toward="init").init_state(1).keys() == {"matrix", "momentum", "start"}


def test_numbers_and_flows_mean_the_same() -> None:
    matrix = make()
    key, value = flows(2, 5, 6, 4)
    _, left = matrix.learn(key, value, matrix.init_state(2), 0.5, 0.9)
    _, right = matrix.learn(
        key,
        value,
        matrix.init_state(2),
        torch.full((2, 5, 2), 0.5, dtype=torch.float64),
        torch.full((2, 5, 1), 0.9, dtype=torch.float64),
    )
    torch.testing.assert_close(left["matrix"], right["matrix"], rtol=1e-7, atol=1e-7)


def test_a_key_written_with_step_1_is_answered_exactly() -> None:
    matrix = make(init="zeros")
    value = flows(1, 1, 4)[0]
    key = torch.zeros(1, 1, 6, dtype=torch.float64)
    key[..., 0] = key[..., 3] = 1.0
    trajectory, _ = matrix.learn(key, value, matrix.init_state(1, dtype=torch.float64))
    torch.testing.assert_close(matrix.read(trajectory, key), value)


def test_the_outer_levels_train_a_learned_start() -> None:
    matrix = make()
    query, key, value = flows(2, 5, 6, 6, 4)
    trajectory, _ = matrix.learn(key, value, matrix.init_state(2), 0.1, 0.9)
    matrix.read(trajectory, query).square().sum().backward()
    assert isinstance(matrix.weight, nn.Parameter)
    assert matrix.weight.shape == (2, 3, 2)
    assert 0.005 < matrix.weight.std() < 0.05
    assert matrix.weight.grad is not None
    assert (matrix.weight.grad != 0).all()


def test_zeros_have_no_weight_and_normal_keeps_one_that_is_saved_but_not_trained() -> None:
    zeros, normal = make(init="zeros"), make(init=Start("normal", 0.5))
    assert not list(zeros.parameters())
    assert not zeros.state_dict()
    assert zeros.init_state(2)["matrix"].shape == (2, 2, 3, 2)
    assert not zeros.init_state(2)["matrix"].any()
    assert not list(normal.parameters())
    assert normal.state_dict().keys() == {"weight"}
    assert normal.init_state(1)["matrix"].std() > 0.1
    torch.testing.assert_close(normal.init_state(2)["matrix"][1], normal.state_dict()["weight"])


def test_the_state_is_at_least_float32() -> None:
    matrix = Matrix(6, 4, heads=2).bfloat16()
    key, value = (flow.bfloat16() for flow in flows(2, 5, 6, 4))
    trajectory, state = matrix.learn(key, value, matrix.init_state(2), 0.5, 0.9)
    assert state["matrix"].dtype == torch.float32
    assert matrix.read(trajectory, key).dtype == torch.bfloat16
    assert Matrix(6, 4, init="zeros").init_state(1, dtype=torch.bfloat16)["matrix"].dtype == torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "does not divide"),
        ({"objective": "l3"}, "objective"),
        ({"read": "later"}, "read"),
        ({"init": "ones"}, "init"),
        ({"gradient": "truncated"}, "gradient"),
        ({"period": 0}, "period"),
        ({"optimizer": "adam"}, "optimizer"),
        ({"toward": "one"}, "toward"),
        ({"p": 0.5}, "p must"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Matrix(6, 4, **options)


def test_block_linear_is_a_linear_map_for_each_head() -> None:
    torch.manual_seed(0)
    layer = BlockLinear(6, 4, heads=2).double()
    (x,) = flows(2, 5, 6)
    out = layer(x)
    want = torch.cat([x[..., :3] @ layer.weight[0], x[..., 3:] @ layer.weight[1]], -1)
    torch.testing.assert_close(out, want)
    out.sum().backward()
    assert layer.weight.grad is not None
    with pytest.raises(ValueError, match="does not divide"):
        BlockLinear(6, 4, heads=4)
