"""The `associative` kind: options, starts, flat flows; the recurrence itself is tested with the op."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from nestdsl.runtime.kinds.associative import Associative, AssociativeLayer
from nestdsl.runtime.kinds.weights import Start
from nestdsl.runtime.ops.deep_memory import DeepRule, initial_state, naive


def flows(batch: int, tokens: int, *sizes: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(batch, tokens, size, generator=generator, dtype=torch.float64) for size in sizes]


def make(value_size: int = 6, **options) -> Associative:
    torch.manual_seed(0)
    return Associative(6, value_size, heads=2, **options).double()


@pytest.mark.parametrize("value_size", [6, 4])
@pytest.mark.parametrize("optimizer", ["gd", "dgd", "momentum", "dgd_momentum"])
@pytest.mark.parametrize(
    ("read", "period", "chunk", "toward"),
    [("after", 1, 1, "zero"), ("before", 1, 4, "init"), ("anchor", 1, 4, "zero"), ("after", 4, 1, "init")],
)
def test_it_follows_the_recurrence_head_by_head(
    value_size: int, optimizer: str, read: str, period: int, chunk: int, toward: str
) -> None:
    memory = make(
        value_size,
        hidden=5,
        activation="silu",
        objective="lp",
        p=1.5,
        optimizer=optimizer,
        read=read,
        period=period,
        chunk=chunk,
        toward=toward,
    )
    query, key, value, step, retain, momentum = flows(3, 10, 6, 6, value_size, 2, 1, 2)
    step, retain, momentum = 0.5 * step.sigmoid(), retain.sigmoid(), momentum.sigmoid()
    trajectory, state = memory.learn(key, value, memory.init_state(3), step, retain, momentum)
    out = memory.read(trajectory, query)

    rule = DeepRule("lp", optimizer, "silu", value_size == 6, 1.5, toward, chunk, period)
    width = value_size // 2
    for head in range(2):
        k, v = slice(3 * head, 3 * head + 3), slice(width * head, width * head + width)
        own = slice(head, head + 1)
        start = initial_state(
            memory.inner[None, own].expand(3, 1, 3, 5), memory.outer[None, own].expand(3, 1, 5, width), rule
        )
        want, following = naive.remember(
            query[..., None, k],
            key[..., None, k],
            value[..., None, v],
            step[..., own],
            retain,
            momentum[..., own] if rule.has_momentum else None,
            start,
            rule,
            read,
        )
        torch.testing.assert_close(out[..., v], want.squeeze(2), rtol=1e-10, atol=1e-10)
        for name in ("inner", "outer"):
            torch.testing.assert_close(state[name][:, own], following[name])


def test_numbers_and_flows_mean_the_same() -> None:
    memory = make(optimizer="momentum", chunk=2)
    key, value = flows(2, 5, 6, 6)
    _, left = memory.learn(key, value, memory.init_state(2), 0.5, 0.9, 0.25)
    filled = torch.full((2, 5, 2), 0.5, dtype=torch.float64)
    _, right = memory.learn(
        key, value, memory.init_state(2), filled, 1.8 * filled[..., :1], 0.5 * filled, aligned=True
    )
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["gd", "dgd", "momentum"])
def test_it_learns_what_it_is_shown_again_and_again(optimizer: str) -> None:
    memory = make(optimizer=optimizer, read="before", chunk=1)
    key, value = (nn.functional.normalize(flow, dim=-1).repeat(1, 50, 1) for flow in flows(1, 2, 6, 6))
    trajectory, _ = memory.learn(key, value, memory.init_state(1), 0.2, 1.0, 0.5)
    error = (memory.read(trajectory, key) - value).square().sum(-1)[0]
    assert error[-2:].sum() < 0.5 * error[:2].sum()


def test_the_outer_levels_train_a_learned_start_near_the_identity() -> None:
    memory = make(hidden=50, chunk=4)
    query, key, value = flows(2, 5, 6, 6, 6)
    state = memory.init_state(2)
    assert {name: tuple(part.shape) for name, part in memory.named_parameters()} == {
        "inner": (2, 3, 50),
        "outer": (2, 50, 3),
    }
    assert 0.4 < memory.inner.std() < 0.8
    assert 0.01 < memory.outer.std() < 0.03
    still, _ = memory.learn(key, value, state, 0.0)
    assert (memory.read(still, query) - query).abs().max() < 0.5
    trajectory, _ = memory.learn(key, value, state, 0.1, 0.9)
    memory.read(trajectory, query).square().sum().backward()
    for weight in memory.parameters():
        assert weight.grad is not None
        assert (weight.grad != 0).all()


def test_zeros_start_as_the_identity_and_normal_is_saved_but_not_trained() -> None:
    zeros, normal = make(init="zeros"), make(init=Start("normal", 0.5))
    query, key, value = flows(2, 5, 6, 6, 6)
    for memory in (zeros, normal):
        assert not list(memory.parameters())
        assert memory.state_dict().keys() == {"inner", "outer"}
    trajectory, state = zeros.learn(key, value, zeros.init_state(2), 0.0)
    assert torch.equal(zeros.read(trajectory, query), query)
    _, state = zeros.learn(key, value, state, 0.5)
    assert state["outer"].abs().min() > 0
    assert normal.init_state(1)["outer"].std() > 0.2
    torch.testing.assert_close(normal.init_state(2)["inner"][1], normal.state_dict()["inner"])


def test_the_state_is_at_least_float32() -> None:
    memory = Associative(6, 6, heads=2, optimizer="dgd", chunk=4).bfloat16()
    key, value = (flow.bfloat16() for flow in flows(2, 5, 6, 6))
    trajectory, state = memory.learn(key, value, memory.init_state(2), 0.5, 0.9)
    assert {part.dtype for part in state.values()} == {torch.float32, torch.int64}
    assert memory.read(trajectory, key).dtype == torch.bfloat16
    assert Associative(6, 6).init_state(1, dtype=torch.float64)["inner"].dtype == torch.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 4}, "does not divide"),
        ({"hidden": 0}, "hidden"),
        ({"activation": "sin"}, "activation"),
        ({"objective": "cosine"}, "objective"),
        ({"optimizer": "adamw"}, "optimizer"),
        ({"read": "later"}, "read"),
        ({"init": "ones"}, "init"),
        ({"gradient": "truncated"}, "gradient"),
        ({"toward": "one"}, "toward"),
        ({"p": 0.9}, "p must"),
        ({"period": 0}, "period"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Associative(6, 6, **options)


@pytest.mark.parametrize("output_size", [6, 4])
def test_a_layer_is_two_layers_for_each_head(output_size: int) -> None:
    torch.manual_seed(0)
    layer = AssociativeLayer(6, output_size, heads=2, hidden=7, activation="relu").double()
    (x,) = flows(2, 5, 6)
    parts = []
    for head, part in enumerate(x.split(3, -1)):
        out = torch.relu(part @ layer.inner[head]) @ layer.outer[head]
        parts.append(part + out if output_size == 6 else out)
    out = layer(x)
    torch.testing.assert_close(out, torch.cat(parts, -1))
    out.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.any() for weight in layer.parameters())
    assert len(list(layer.parameters())) == 2


def test_a_layer_of_zeros_is_the_identity_and_wrong_options_are_refused() -> None:
    (x,) = flows(2, 5, 6)
    assert torch.equal(AssociativeLayer(6, 6, init="zeros").double()(x), x)
    with pytest.raises(ValueError, match="does not divide"):
        AssociativeLayer(6, 4, heads=4)
    with pytest.raises(ValueError, match="activation"):
        AssociativeLayer(6, 4, activation="sin")  # type: ignore[arg-type]
