"""Levels that move once in N steps: by what they move, how often, and what they leave alone."""

import dataclasses

import pytest
import torch

import nestdsl
from nestdsl.diagnostics import NestError
from nestdsl.plan.plan import OptimizerPlan
from nestdsl.runtime.step_levels import NonFiniteGradient, StepLevels
from nestdsl.vocabulary.timing import Unit
from tests.training.models import ADAMW, FAST, SLOW, changed, tiny_model

SGD = OptimizerPlan("sgd", (("lr", 0.1), ("momentum", 0.0), ("decay", 0.0), ("reduce", "mean")))
MUON = OptimizerPlan(
    "muon", (("lr", 2e-2), ("momentum", 0.95), ("decay", 0.0), ("adamw_lr", 1e-3), ("reduce", "mean"))
)


def backward(model, step):
    """One backward pass on a batch of its own; returns the gradients of this pass alone."""
    generator = torch.Generator().manual_seed(step)
    ids = torch.randint(256, (2, 9), generator=generator)
    held = {name: weight.grad for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = None
    model.loss(ids[:, :-1], ids[:, 1:]).backward()
    alone = {}
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            alone[name] = weight.grad.clone()
            weight.grad = weight.grad if held[name] is None else held[name] + weight.grad
    return alone


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_slow_level_takes_one_step_on_the_gathered_gradient(reduce) -> None:
    model = tiny_model(slow_period=4, slow_optimizer=changed(ADAMW, reduce=reduce)).double().eval()
    levels = StepLevels(model)
    start = weights(model)
    names = ("slow.weight", "slow.bias")
    gathered = {name: torch.zeros_like(start[name]) for name in names}
    for step in range(1, 5):
        assert all(torch.equal(weights(model)[name], start[name]) for name in names)
        alone = backward(model, step)
        for name in names:
            gathered[name] += alone[name]
        levels.step(step)
    copies = [torch.nn.Parameter(start[name].clone()) for name in names]
    for copy, name in zip(copies, names, strict=True):
        copy.grad = gathered[name] / 4 if reduce == "mean" else gathered[name]
    reference = torch.optim.AdamW(copies, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    reference.step()
    for copy, name in zip(copies, names, strict=True):
        torch.testing.assert_close(model.get_parameter(name), copy, rtol=1e-14, atol=1e-14)
        assert levels.state_tensors()[f"{name}.step_count"] == 1
        assert model.get_parameter(name).grad is None
    assert levels.state_tensors()["head.weight.step_count"] == 4


def test_levels_of_every_step_move_every_step_and_frozen_ones_never() -> None:
    model = tiny_model()
    levels = StepLevels(model)
    start = weights(model)
    for step in range(1, 9):
        before = weights(model)
        backward(model, step)
        levels.step(step)
        moved = {name for name, weight in weights(model).items() if not torch.equal(weight, before[name])}
        assert moved == FAST | (SLOW if step % 4 == 0 else set())
    assert torch.equal(model.still.weight, start["still.weight"])
    assert model.still.weight.grad is None


def test_weights_of_levels_in_context_belong_to_the_train_clause() -> None:
    model = tiny_model(period_steps=2, slow_optimizer=changed(ADAMW, lr=0.5))
    assert model.plan.levels[0].unit is Unit.TOKEN
    groups = {
        frozenset(group.weights): (dict(group.optimizer.arguments)["lr"], group.period)
        for group in StepLevels(model).groups
    }
    assert groups == {FAST: (0.01, 2), SLOW: (0.5, 4)}


def test_memories_of_optimizers_are_not_driven_themselves() -> None:
    model = tiny_model(slow_optimizer=ADAMW)
    assert len({level.owner for level in model.plan.levels}) == 3  # none, the train clause, and `slow`
    assert sum(len(group.weights) for group in StepLevels(model).groups) == len(FAST | SLOW)


def test_muon_drives_matrices_of_hidden_levels_only() -> None:
    model = tiny_model(slow_period=1, train=MUON)
    (group,) = StepLevels(model).groups
    kinds = {driver.part.fast.program.name: set(driver.weights) for driver in group.drivers}
    assert kinds == {
        "muon": {"slow.weight"},
        "adamw": FAST | {"slow.bias"},
    }


def test_all_rates_are_scaled() -> None:
    full, half = tiny_model(slow_period=1, train=SGD).eval(), tiny_model(slow_period=1, train=SGD).eval()
    start = weights(full)
    for model, scale in ((full, 1.0), (half, 0.5)):
        backward(model, 1)
        StepLevels(model).step(1, scale)
    for name, weight in weights(full).items():
        torch.testing.assert_close(
            weights(half)[name] - start[name], (weight - start[name]) / 2, rtol=1e-3, atol=1e-6
        )


def test_clipping_bounds_the_norm_of_what_moves_together() -> None:
    model = tiny_model(slow_period=2, train=changed(SGD, lr=1.0)).double().eval()
    levels = StepLevels(model)
    start = weights(model)
    alone = backward(model, 1)
    norm = levels.step(1, clip=0.01)
    expected = torch.cat([alone[name].flatten() for name in FAST]).norm()
    assert norm == pytest.approx(float(expected))
    change = torch.cat([(weights(model)[name] - start[name]).flatten() for name in start]).norm()
    assert float(change) == pytest.approx(0.01, rel=1e-3)
    assert torch.equal(model.slow.weight.grad, alone["slow.weight"])


def test_state_continues_exactly_in_the_middle_of_a_period() -> None:
    def run(model, levels, steps):
        for step in steps:
            backward(model, step)
            levels.step(step)

    straight = tiny_model(train=MUON).eval()
    run(straight, StepLevels(straight), range(1, 9))
    first = tiny_model(train=MUON).eval()
    first_levels = StepLevels(first)
    run(first, first_levels, range(1, 7))
    state = {name: tensor.clone() for name, tensor in first_levels.state_tensors().items()}
    assert "slow.weight.gathered_gradient" in state
    second = tiny_model(train=MUON, seed=1).eval()
    second.load_state_dict(first.state_dict())
    second_levels = StepLevels(second)
    second_levels.load_state_tensors(state, 6)
    run(second, second_levels, range(7, 9))
    for name, weight in weights(straight).items():
        assert torch.equal(weight, weights(second)[name]), name


def test_a_gradient_that_is_not_finite_moves_nothing() -> None:
    model = tiny_model()
    levels = StepLevels(model)
    backward(model, 1)
    model.slow.weight.grad[0, 0] = float("nan")  # gathers, and would move at step 4 only
    before = weights(model)
    with pytest.raises(NonFiniteGradient, match=r"`slow\.weight`"):
        levels.step(1)
    assert all(torch.equal(weight, before[name]) for name, weight in weights(model).items())


def test_a_weight_without_a_gradient_is_named() -> None:
    model = tiny_model()
    levels = StepLevels(model)
    backward(model, 1)
    model.head.bias.grad = None
    with pytest.raises(NestError) as raised:
        levels.step(1)
    (diagnostic,) = raised.value.diagnostics
    assert diagnostic.code == "N0305"
    assert diagnostic.is_error
    assert "no gradient reaches `head` of " in diagnostic.message
    assert "`head.bias`" in diagnostic.message


def test_each_weight_belongs_to_one_level() -> None:
    model = tiny_model()
    whole = model.plan
    others = tuple(level for level in whole.levels if level.name != "head")
    model.plan = dataclasses.replace(whole, levels=others)
    with pytest.raises(AssertionError, match=r"`head\.weight` belongs to no level"):
        StepLevels(model)
    again = dataclasses.replace(whole.levels[0], rank=9)
    model.plan = dataclasses.replace(whole, levels=(*whole.levels, again))
    with pytest.raises(AssertionError, match=r"`memory\.weight` belongs to levels"):
        StepLevels(model)


def test_one_tensor_in_two_levels_is_refused() -> None:
    """Both would move it. Two reads of one level are how the language ties weights."""
    model = tiny_model()
    model.head.bias = model.embed.weight
    with pytest.raises(NestError, match=r"`embed\.weight` and `head\.bias` are one tensor") as raised:
        StepLevels(model)
    assert raised.value.diagnostics[0].code == "N0404"


def test_a_level_that_is_read_twice_moves_once_by_the_sum_of_both_gradients() -> None:
    body = """
    model twice {
      input vectors(3)
      level w = linear(3, bias = false)
      flow out = in -> w -> tanh -> w
      train { objective mse  optimizer sgd(lr = 1) }
    }
    """
    model = nestdsl.parse(body).compile(compile=False).double()
    x, target = torch.randn(2, 2, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, second = (model.w.weight.detach().clone().requires_grad_() for _ in range(2))
    torch.nn.functional.mse_loss(torch.tanh(x @ first.T) @ second.T, target).backward()
    start = model.w.weight.detach().clone()
    model.loss(x, target).backward()
    StepLevels(model).step(1)
    torch.testing.assert_close(start - model.w.weight, first.grad + second.grad, rtol=1e-9, atol=1e-12)


def test_an_unknown_optimizer_is_a_fault_of_the_compiler() -> None:
    model = tiny_model()
    train = dataclasses.replace(model.plan.train, optimizer=OptimizerPlan("lion", ()))
    model.plan = dataclasses.replace(model.plan, train=train)
    with pytest.raises(ValueError, match="optimizer `lion`"):
        StepLevels(model)
