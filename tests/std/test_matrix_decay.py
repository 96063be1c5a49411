"""AdamW that decays matrices alone: torch.optim.AdamW with two groups, in values, in a model and in speed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

import nestdsl
from nestdsl.graph.optimizer import chain
from nestdsl.runtime.optimizer import kernels
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.semantics.elaborate.optimizers.named import named_optimizer
from tests.runtime.optimizer.test_stages import stages

STEPS = 12
SETTINGS = {"lr": 0.03, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6, "decay": 0.3}
MATRICES, OTHERS = ((6, 4), (4, 6), (3, 40)), ((5,), (2, 4, 3), ())

MODEL = """
block layer {
  level memory = matrix(2) { learn key -> value   every 1 token   optimizer gd(step = 0.1)   init learned }
  flow key = in -> conv(3) -> linear -> l2_normalize(2)
  flow value = in -> linear
  flow h = in + (key -> memory)
  flow out = h + (h -> rms_norm -> mlp(expand = 2))
}

model small(width = 8) {
  input ids(16)
  flow out = in -> embedding(width) -> layer -> layer -> layer_norm -> linear(16)
  train { optimizer adamw_matrix(lr = 0.03, decay = 0.3) }
}
"""


def drawn(shapes: tuple[tuple[int, ...], ...], seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator, dtype=torch.float64)) for shape in shapes]


def moved(
    parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer, factors: Sequence[float] = ()
) -> None:
    """12 updates along fixed gradients of very different lengths; `factors` of the first rates, if given."""
    generator = torch.Generator().manual_seed(1)
    schedule = LambdaLR(optimizer, factors.__getitem__) if factors else None
    for number in range(STEPS):
        for parameter in parameters:
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.grad = (1 + number % 3) * noise
        optimizer.step()
        if schedule and number + 1 < STEPS:
            schedule.step()


def ours_of(parameters: Any, compile: bool = False, **given: Any) -> torch.optim.Optimizer:
    settings: dict[str, Any] = {**SETTINGS, **given}
    return nestdsl.optimizer("std.optim:adamw_matrix", parameters, compile=compile, **settings)


def of_torch(matrices: list[nn.Parameter], others: list[nn.Parameter]) -> torch.optim.Optimizer:
    groups = [
        {"params": matrices, "weight_decay": SETTINGS["decay"]},
        {"params": others, "weight_decay": 0.0},
    ]
    betas = (SETTINGS["beta1"], SETTINGS["beta2"])
    return torch.optim.AdamW(groups, lr=SETTINGS["lr"], betas=betas, eps=SETTINGS["eps"])


def verify_equal(ours: list[nn.Parameter], theirs: list[nn.Parameter]) -> None:
    for own, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(own, their, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("compile", [False, True])
def test_it_is_adamw_of_torch_with_two_groups(compile: bool) -> None:
    """Rates that a scheduler sets reach all weights."""
    ours, theirs = drawn(MATRICES + OTHERS), drawn(MATRICES + OTHERS)
    factors = [0.2 + step / STEPS for step in range(STEPS)]
    moved(ours, ours_of(ours, compile), factors)
    moved(theirs, of_torch(theirs[: len(MATRICES)], theirs[len(MATRICES) :]), factors)
    verify_equal(ours, theirs)


def test_what_is_said_to_be_no_matrix_is_not_decayed() -> None:
    """An embedding and an output, in a PyTorch project."""
    ours, theirs = drawn(MATRICES), drawn(MATRICES)
    moved(ours, ours_of([{"params": ours[:2]}, {"params": ours[2:], "matrices": False}]))
    moved(theirs, of_torch(theirs[:2], theirs[2:]))
    verify_equal(ours, theirs)


def test_a_schedule_of_its_own_drives_all() -> None:
    ours, theirs = drawn(MATRICES + OTHERS), drawn(MATRICES + OTHERS)
    moved(ours, ours_of(ours, lr=f"linear(0.03, warmup = 4, steps = {STEPS})"))
    factors = [step / 4 if step < 4 else (STEPS - step) / (STEPS - 4) for step in range(1, STEPS + 1)]
    moved(theirs, of_torch(theirs[: len(MATRICES)], theirs[len(MATRICES) :]), factors)
    verify_equal(ours, theirs)


def test_in_a_model_it_decays_matrices_of_hidden_levels_alone() -> None:
    """Without a gradient decay is all that moves: embedding, output, convolutions, norms, biases and the
    starts of memories, stacks for several heads, keep every bit."""
    model = nestdsl.parse(MODEL).compile(compile=False)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    StepLevels(model).step(1)
    decayed = set()
    for name, weight in model.named_parameters():
        if not torch.equal(weight, before[name]):
            torch.testing.assert_close(weight, before[name] * (1 - 0.03 * 0.3))
            decayed.add(name)
    expected = {
        f"{layer}.{weight}"
        for layer in layers_of(before)
        for weight in ("key_linear.weight", "value_linear.weight", "out_mlp.up.weight", "out_mlp.down.weight")
    }
    assert decayed == expected
    rest = before.keys() - decayed
    kept = {name.rpartition(".")[0].rpartition(".")[2] for name in rest if "weight" in name}
    assert {"out_embedding", "out_linear", "key_conv", "out_rms_norm"} <= kept
    assert any(before[name].ndim == 3 for name in rest)


def layers_of(weights: dict[str, Tensor]) -> set[str]:
    found = {name.rpartition(".key_linear")[0] for name in weights if ".key_linear." in name}
    assert len(found) == 2
    return found


def test_both_parts_run_by_one_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """One loop over all matrices, and one over all other weights: the code is AdamW's, compiled once."""
    whole = named_optimizer("std.optim:adamw_matrix").program({})
    inner = chain(whole, is_matrix=False)[-1]
    assert (inner.name, dict(inner.parameters)["decay"]) == ("adamw", 0)
    assert stages("std.optim:adamw_matrix") == stages("std.optim:adamw")
    made: list[object] = []
    known = kernels._compiled

    def compiled(*arguments: object) -> object:
        made.append(arguments)
        return known(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(kernels, "_compiled", compiled)
    weights = drawn(MATRICES + OTHERS)
    moved(weights, ours_of(weights, compile=True))
    assert made
    assert all(one == other for one, other in pairwise(made))
