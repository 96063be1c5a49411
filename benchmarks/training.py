"""Whole training steps, and passes over random inputs, as work to be timed."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.model import Work
from nestdsl.api import Nest
from nestdsl.runtime.step_levels import StepLevels

VOCABULARY = 256


def random_ids(batch: int, tokens: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets [batch, tokens], the same for every contender."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(VOCABULARY, (batch, tokens + 1), generator=generator)
    return ids[:, :-1], ids[:, 1:]


def random_vectors(batch: int, tokens: int, size: int) -> Tensor:
    return torch.randn(batch, tokens, size, generator=torch.Generator().manual_seed(0))


def program_step(nest: Nest, batch: int, tokens: int) -> Callable[[], Work]:
    """A step of a program: its loss (levels in context learn on the way), backward, its optimizers."""

    def prepare() -> Work:
        model = nest.compile()
        levels = StepLevels(model)
        inputs, targets = random_ids(batch, tokens)
        numbers = itertools.count(1)

        def step() -> None:
            model.loss(inputs, targets).backward()
            levels.step(next(numbers))

        return step

    return prepare


def module_step(build: Callable[[], nn.Module], batch: int, tokens: int) -> Callable[[], Work]:
    """The same of a module that maps ids to logits: cross entropy, backward, AdamW."""

    def prepare() -> Work:
        torch.manual_seed(0)
        model = build()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        inputs, targets = random_ids(batch, tokens)

        def step() -> None:
            logits = model(inputs)
            torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    return prepare


def there_and_back(layer: Callable[[Tensor], Tensor], parameters: list[nn.Parameter], x: Tensor) -> Work:
    """Forward and backward of a layer over x [batch, tokens, size], to its weights and its input."""
    x = x.detach().requires_grad_()
    upstream = torch.ones_like(x)

    def run() -> None:
        y = layer(x)
        torch.autograd.grad(y, [x, *parameters], upstream, allow_unused=True)

    return run


def program_there_and_back(nest: Nest, x: Tensor) -> Callable[[], Work]:
    def prepare() -> Work:
        model = nest.compile()
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        return there_and_back(lambda flow: model(flow)[0], weights, x)

    return prepare
