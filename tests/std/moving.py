"""Moves weights by an optimizer of the library along fixed gradients, to compare with a formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

import nestdsl

Values = float | int
Formula = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""From the first weight and the gradients of all steps to the last weight."""


def weight_and_gradients(
    shape: Sequence[int], steps: int, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Tensor, list[Tensor]]:
    """A weight and a gradient for each step, drawn at random; gradients of very different lengths."""
    generator = torch.Generator().manual_seed(seed)
    weight, *drawn = (torch.randn(*shape, generator=generator, dtype=dtype) for _ in range(steps + 1))
    return weight, [gradient * (1 + number % 3) for number, gradient in enumerate(drawn)]


def moved(name: str, weight: Tensor, gradients: Sequence[Tensor], **parameters: Values) -> Tensor:
    """Where `weight` is after one update for each gradient, by an optimizer of `std.optim`."""
    return moved_with_state(name, weight, gradients, **parameters)[0]


def moved_with_state(
    name: str, weight: Tensor, gradients: Sequence[Tensor], **parameters: Values
) -> tuple[Tensor, dict[str, Tensor]]:
    """The same, with what the optimizer then remembers of the weight."""
    parameter = nn.Parameter(weight.clone())
    optimizer = nestdsl.optimizer(f"std.optim:{name}", [parameter], compile=False, **parameters)
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach(), optimizer.state[parameter]
