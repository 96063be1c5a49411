"""What holds for every program, in float64: causality, rows, splits, gradients, seeds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nestdsl.runtime.module import NestModule
from tests.invariants.programs import EXAMPLES, nest, texts

TOKENS = 53
NAMES = sorted(texts())


def model_of(name: str, seed: int = 0) -> NestModule:
    return nest(name).compile(compile=False, seed=seed).double().eval()


def sample(model: NestModule, batch: int = 3, tokens: int = TOKENS, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    size = model.plan.input.size
    if model.plan.input.takes == "ids":
        return torch.randint(size, (batch, tokens), generator=generator)
    return torch.randn(batch, tokens, size, generator=generator, dtype=torch.float64)


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_changing_a_token_changes_nothing_before_it_and_something_from_it_on(name: str) -> None:
    model = model_of(name)
    x = sample(model, batch=2)
    with torch.no_grad():
        before, _ = model(x)
        for place in (0, 1, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 31, 32, 33, TOKENS - 1):
            changed = x.clone()
            changed[:, place] = (x[:, place] + 1) % model.plan.input.size
            after, _ = model(changed)
            close(after[:, :place], before[:, :place])
            assert (after[:, place:] - before[:, place:]).abs().max() > 1e-9


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_a_batch_are_independent(name: str) -> None:
    model = model_of(name)
    x = sample(model)
    with torch.no_grad():
        together, _ = model(x)
        for row in range(len(x)):
            close(model(x[row : row + 1])[0], together[row : row + 1])


@pytest.mark.parametrize("name", NAMES)
def test_whole_equals_split_anywhere_equals_token_by_token(name: str) -> None:
    model = model_of(name)
    x = sample(model, batch=2)
    with torch.no_grad():
        whole, last = model(x)
        for lengths in ((1, 52), (7, 1, 45), (8, 8, 37), (16, 17, 20), (31, 22), (52, 1), (1,) * TOKENS):
            state = model.init_state(2)
            parts = []
            for part in x.split(lengths, dim=1):
                y, state = model(part, state)
                parts.append(y)
            close(torch.cat(parts, dim=1), whole)
        for found, wanted in zip(leaves(state), leaves(last), strict=True):
            close(found, wanted)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_the_same_through_a_carried_state(name: str) -> None:
    model = model_of(name)
    x = sample(model, batch=2)
    whole = gradients(model, model(x)[0])
    first, state = model(x[:, :21])
    second, _ = model(x[:, 21:], state)
    for found, wanted in zip(gradients(model, torch.cat((first, second), 1)), whole, strict=True):
        close(found, wanted)


def gradients(model: NestModule, y: Tensor) -> list[Tensor]:
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    found = torch.autograd.grad(y.square().sum(), weights, allow_unused=True)
    return [torch.zeros(()) if gradient is None else gradient for gradient in found]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "matrix_stop"])
def test_a_gradient_reaches_every_trained_weight(name: str) -> None:
    model = model_of(name)
    x = sample(model)
    targets = x[:, 1:] if model.plan.input.takes == "ids" else torch.roll(x, 1, 1)[:, 1:]
    if model.plan.train.objective == "mse":
        targets = torch.ones(*targets.shape[:2], model.plan.output_size, dtype=torch.float64)
    model.loss(x[:, :-1], targets).backward()
    for weight_name, weight in model.named_parameters():
        assert weight.grad is not None, weight_name
        assert weight.grad.abs().max() > 0, weight_name


def test_with_gradient_stop_only_the_start_and_the_query_learn() -> None:
    model = model_of("matrix_stop")
    x = sample(model)
    model.loss(x[:, :-1], x[:, 1:]).backward()
    reached = {
        name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()
    }
    assert {"memory.weight", "q_linear.weight"} <= reached
    assert not {"k_linear.weight", "v_linear.weight", "step_linear.weight"} & reached


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_model_and_another_seed_another(name: str) -> None:
    x = sample(model_of(name))
    assert torch.equal(model_of(name, 1)(x)[0], model_of(name, 1)(x)[0])
    assert not torch.equal(model_of(name, 1)(x)[0], model_of(name, 2)(x)[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_sequence_of_one_token_and_an_empty_continuation(name: str) -> None:
    model = model_of(name)
    x = sample(model, tokens=1)
    y, state = model(x)
    assert y.shape == (3, 1, model.plan.output_size)
    again, _ = model(x, model.reset_state(state))
    close(again, y)


@pytest.mark.slow
@pytest.mark.parametrize("name", [path.stem for path in EXAMPLES])
def test_compiled_equals_eager_in_value_and_gradient(name: str) -> None:
    eager = model_of(name)
    compiled = nest(name).compile().double().eval()
    # Each move of its memories is compiled by itself; after 16 tokens all of them have moved.
    x = sample(eager, tokens=17 if name == "titans_stack" else TOKENS)
    wanted, found = eager(x)[0], compiled(x)[0]
    close(found, wanted)
    for one, other in zip(gradients(compiled, found), gradients(eager, wanted), strict=True):
        close(one, other)


def leaves(state: object) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(state) if isinstance(leaf, Tensor)]
