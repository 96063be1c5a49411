"""What torch expects of a module holds for ours: copies, files, hooks, precision, functional calls."""

from __future__ import annotations

import copy
import io
import pickle
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nestdsl.runtime.block import Block
from tests.runtime.ordinary.models import NAMES, assert_same, gradients, leaves, model_of, results, sample

every_model = pytest.mark.parametrize("name", NAMES)


@every_model
def test_a_model_comes_back_from_a_pickle(name: str) -> None:
    model = model_of(name)
    model.fix_precision("float32")
    restored = pickle.loads(pickle.dumps(model))  # noqa: S301
    assert restored.plan == model.plan
    assert restored.product_precision == model.product_precision
    assert_same(results(restored), results(model))


@every_model
def test_a_model_comes_back_from_a_file_of_torch(name: str) -> None:
    model = model_of(name).eval().requires_grad_(True)
    model.embed.requires_grad_(False)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    restored = torch.load(file, weights_only=False)
    assert not restored.training and not restored.embed.weight.requires_grad
    assert_same(results(restored), results(model))


@every_model
def test_a_copy_is_independent(name: str) -> None:
    model = model_of(name)
    before = results(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.add_(1)
    assert_same(results(model), before)
    assert not torch.equal(twin(sample()[0])[0], model(sample()[0])[0])
    assert {id(one) for one in twin.modules()}.isdisjoint(id(one) for one in model.modules())


@pytest.mark.parametrize("name", ["hope", "transformer"])
def test_a_compiled_model_is_copied_and_pickled(name: str) -> None:
    """What is compiled stays behind: a copy compiles for itself."""
    model = model_of(name, compile=True)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301
        assert type(twin.run) is type(model.run)
        assert twin.run is not model.run
        assert twin.run.unit_count == model.run.unit_count > 0


def calls(model: nn.Module) -> tuple[Counter[str], list[Any]]:
    """How often each hook of each module fires, from now on."""
    seen: Counter[str] = Counter()

    def note(kind: str, name: str) -> Any:
        return lambda *_: seen.update([f"{kind} {name}"])

    handles = []
    for name, part in model.named_modules():
        if not isinstance(part, nn.ModuleList):
            handles.append(part.register_forward_pre_hook(note("before", name)))
            handles.append(part.register_forward_hook(note("after", name)))
            handles.append(part.register_full_backward_hook(note("backward", name)))
    return seen, handles


of_ids = pytest.mark.filterwarnings(
    "ignore:Full backward hook is firing when:UserWarning"
)  # ids have no gradient


@of_ids
@pytest.mark.parametrize("compile", [False, True])
@every_model
def test_hooks_fire_once_a_pass(name: str, compile: bool) -> None:
    model = model_of(name, compile=compile)
    seen, handles = calls(model)
    ids = sample(tokens=4)[0]
    y, _ = model(ids)
    y.sum().backward()
    blocks = [path for path, part in model.named_modules() if isinstance(part, Block)]
    once = [*blocks, "embed", "head"]
    for path in once:
        assert seen[f"before {path}"] == seen[f"after {path}"] == 1, path
        assert seen[f"backward {path}"] == 1, path
    levels = [path for level in model.plan.levels if not level.owner for path in level.modules]
    assert levels
    for path in levels:
        assert seen[f"before {path}"] == seen[f"after {path}"] >= 1, path
    for handle in handles:
        handle.remove()
    seen.clear()
    model(ids)
    assert not seen


@of_ids
@every_model
def test_hooks_fire_where_the_loss_is_computed(name: str) -> None:
    model = model_of(name)
    seen, _ = calls(model)
    ids, targets = sample(tokens=4)
    model.loss(ids, targets).backward()
    assert seen["before "] == seen["after "] == 1
    assert seen["before head"] == seen["after head"] == 1


@every_model
def test_functional_call_takes_other_weights(name: str) -> None:
    model, other = model_of(name), model_of(name, seed=1)
    ids, targets = sample()
    weights = dict(other.state_dict())
    found, _ = torch.func.functional_call(model, weights, (ids,))
    torch.testing.assert_close(found, other(ids)[0])
    loss, _ = torch.func.functional_call(model, weights, (ids,), {"targets": targets})
    torch.testing.assert_close(loss, other.loss(ids, targets))


@every_model
def test_functional_gradients_are_those_of_backward(name: str) -> None:
    model = model_of(name)
    ids, targets = sample()
    weights = {name: weight.detach() for name, weight in model.named_parameters()}

    def outputs(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(model, weights, (ids,))[0].square().mean()

    def loss(weights: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(model, weights, (ids,), {"targets": targets})[0]

    for function, plain in (
        (outputs, lambda: model(ids)[0].square().mean()),
        (loss, lambda: model.loss(ids, targets)),
    ):
        found, value = torch.func.grad_and_value(function)(weights)
        model.zero_grad()
        wanted = plain()
        wanted.backward()
        torch.testing.assert_close(value, wanted.detach())
        assert_same({name: found[name] for name in gradients(model)}, gradients(model))


@every_model
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float32, torch.float64])
def test_precision_changes_all_of_a_model(name: str, kind: torch.dtype) -> None:
    model = model_of(name).to(kind)
    ids, targets = sample()
    y, _ = model(ids)
    assert y.dtype == kind
    model.loss(ids, targets).backward()
    assert {part.dtype for part in gradients(model).values()} == {kind}
    close = {"rtol": 0.2, "atol": 0.2} if kind is torch.bfloat16 else {"rtol": 1e-3, "atol": 1e-3}
    torch.testing.assert_close(y.double(), model_of(name)(ids)[0], **close)


@every_model
def test_a_part_that_is_frozen_gets_no_gradient_and_changes_no_other(name: str) -> None:
    model, whole = model_of(name), model_of(name)
    ids, targets = sample()
    blocks = (part for part in model.modules() if isinstance(part, Block) and part is not model)
    for part in (model.head, next(blocks)):
        part.requires_grad_(False)
    for one in (model, whole):
        one.loss(ids, targets).backward()
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert frozen and frozen.isdisjoint(gradients(model))
    assert_same(gradients(model), {k: v for k, v in gradients(whole).items() if k not in frozen})


@every_model
def test_blocks_can_be_computed_again_in_the_backward_pass(name: str) -> None:
    model = model_of(name)
    wanted = results(model)

    def again(block: Block) -> Any:
        plain = block.forward
        return lambda *given: checkpoint(plain, *given, use_reentrant=False)

    for part in list(model.modules()):
        if isinstance(part, Block) and part is not model:
            part.forward = again(part)  # type: ignore[method-assign]
    assert_same(results(model), wanted)


@every_model
def test_a_state_holds_tensors_with_the_batch_in_front_alone(name: str) -> None:
    model = model_of(name)
    ids, targets = sample(batch=3)
    for state in (
        model.init_state(3),
        model(ids)[1],
        model.stream_loss(ids, targets)[1],
    ):
        parts = dict(leaves(state))
        assert parts or name == "multirate"
        assert {part.shape[0] for part in parts.values()} <= {3}
