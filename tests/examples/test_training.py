"""Every example trains: over a few steps on one small batch its loss falls, as `nestdsl train` moves it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import nestdsl
from nestdsl.runtime.module import NestModule
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.semantics.modules import library_modules
from tests.invariants.programs import EXAMPLES, nest

OPTIMIZERS = sorted((Path(__file__).parents[2] / "examples" / "optimizers").glob("*.nest"))
STEPS, TOKENS, FEWEST_IDS = 12, 40, 8


@pytest.mark.parametrize("name", [path.stem for path in EXAMPLES])
def test_the_loss_falls(name: str) -> None:
    train(nest(name).compile(compile=False))


@pytest.mark.parametrize("path", OPTIMIZERS, ids=lambda path: path.stem)
def test_the_loss_falls_by_optimizers_of_ones_own(path: Path) -> None:
    train(nestdsl.load(path, dim=32, vocab=11).compile(compile=False))


def train(model: NestModule) -> None:
    size, generator = model.plan.input.size, torch.Generator().manual_seed(0)
    if model.plan.input.takes == "ids":
        stream = torch.randint(size, (2, 8), generator=generator).repeat(1, 6)[:, : TOKENS + 1]
    else:
        stream = torch.randn(2, 8, size, generator=generator).repeat(1, 6, 1)[:, : TOKENS + 1]
    inputs, targets = stream[:, :-1], stream[:, 1:]
    if model.plan.input.takes == "ids" and model.plan.output_size < FEWEST_IDS:
        targets = inputs % model.plan.output_size  # of so few, the next is no function of the last
    levels = StepLevels(model)
    losses = []
    for number in range(1, STEPS + 1):
        loss = model.loss(inputs, targets)
        loss.backward()
        levels.step(number)
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0], losses


def test_every_file_of_the_library_has_an_example() -> None:
    used = {
        line.split()[1].removeprefix("std.")
        for path in EXAMPLES
        for line in path.read_text("utf-8").splitlines()
        if line.startswith("use std.")
    }
    assert set(library_modules()) - {"hope", "optim"} <= used  # `std.optim` needs no `use`


@pytest.mark.parametrize("path", [*EXAMPLES, *OPTIMIZERS], ids=lambda path: path.stem)
def test_it_begins_with_what_it_shows(path: Path) -> None:
    first = path.read_text("utf-8").splitlines()[0]
    assert first.startswith(f"# {path.name}: ")
