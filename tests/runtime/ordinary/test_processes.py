"""DistributedDataParallel and FSDP2 take our models as any other: two processes give what one gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from nestdsl.runtime.block import Block
from nestdsl.runtime.module import NestModule
from tests.runtime.ordinary.models import NAMES, assert_same, gradients, leaves, model_of, sample
from tests.runtime.ordinary.processes import COUNT, in_two_processes

every_model = pytest.mark.parametrize("name", NAMES)
BATCH = 4


def rows(rank: int) -> tuple[Tensor, Tensor]:
    """The part of the batch that one process reads."""
    ids, targets = sample(batch=BATCH)
    return ids.chunk(COUNT)[rank], targets.chunk(COUNT)[rank]


def all_results(model: nn.Module, ids: Tensor, targets: Tensor, steps: int = 1) -> dict[str, Tensor]:
    """Outputs, the next state, the loss, and the gradients of both, as plain tensors."""
    found: dict[str, Tensor] = {}
    model.zero_grad()
    outputs, state = model(ids)
    outputs.square().mean().backward()
    found["outputs"] = outputs
    found |= {f"state{path}": part for path, part in leaves(state)}
    found |= {f"of outputs: {name}": part for name, part in whole_gradients(model).items()}
    model.zero_grad()
    loss, _ = model(ids, targets=targets)
    loss.backward()
    found["loss"] = loss
    found |= {f"of loss: {name}": part for name, part in whole_gradients(model).items()}
    return {name: part.detach() for name, part in found.items()}


def whole_gradients(model: nn.Module) -> dict[str, Tensor]:
    return {
        name.removeprefix("module."): part.full_tensor() if isinstance(part, DTensor) else part
        for name, part in gradients(model).items()
    }


def in_parallel(rank: int, name: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return all_results(DistributedDataParallel(model_of(name)), *rows(rank))


def sharded(rank: int, name: str, per: str) -> dict[str, Tensor]:
    model = model_of(name)
    mesh = init_device_mesh("cpu", (COUNT,))
    for part in parts(model, per):
        fully_shard(part, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return all_results(model, *rows(rank))


def parts(model: NestModule, per: str) -> list[nn.Module]:
    """The blocks of a model, or its levels with weights, the innermost first."""
    if per == "block":
        return [
            part for part in reversed(list(model.modules())) if isinstance(part, Block) and part is not model
        ]
    paths = [path for level in model.plan.levels if not level.owner for path in level.modules]
    levels = [model.get_submodule(path) for path in paths]
    return [level for level in levels if any(True for _ in level.parameters())]


def assert_as_one(found: list[dict[str, Tensor]], name: str) -> None:
    """What two processes found is what one finds with all rows: each its own outputs, both all gradients."""
    ids, targets = sample(batch=BATCH)
    wanted = all_results(model_of(name), ids, targets)
    for rank, own in enumerate(found):
        assert own.keys() == wanted.keys()
        for key, part in wanted.items():
            if key == "outputs" or key.startswith("state"):
                assert_same({key: own[key]}, {key: part.chunk(COUNT)[rank]})
            elif key.startswith("of "):
                assert_same({key: own[key]}, {key: part})
    loss = torch.stack([own["loss"] for own in found]).mean()
    torch.testing.assert_close(loss, wanted["loss"])


@every_model
def test_data_parallel_gives_the_gradients_of_one_process(name: str, tmp_path: Path) -> None:
    assert_as_one(in_two_processes(in_parallel, tmp_path, name), name)


@every_model
@pytest.mark.parametrize("per", ["block", "level"])
def test_sharded_weights_give_the_gradients_of_one_process(name: str, per: str, tmp_path: Path) -> None:
    assert_as_one(in_two_processes(sharded, tmp_path, name, per), name)


def deferred(rank: int, name: str) -> dict[str, Any]:
    """Two steps, of which the head's gradient is reduced after the second alone."""
    model = model_of(name)
    mesh = init_device_mesh("cpu", (COUNT,))
    head = model.head
    fully_shard(head, mesh=mesh)
    fully_shard(model, mesh=mesh)
    assert isinstance(head, FSDPModule)
    ids, targets = rows(rank)
    first = None
    for step in range(2):
        head.set_requires_gradient_sync(step == 1)
        model(ids, targets=targets)[0].backward()
        if step == 0:
            first = head.weight.grad
    return {"first": first, "second": whole_gradients(model)}


@every_model
def test_the_gradient_of_one_level_is_reduced_once_in_two_steps(name: str, tmp_path: Path) -> None:
    model = model_of(name)
    ids, targets = sample(batch=BATCH)
    model.loss(ids, targets).backward()
    once = gradients(model)
    for own in in_two_processes(deferred, tmp_path, name):
        assert own["first"] is None
        assert_same(own["second"], {key: 2 * part for key, part in once.items()})
