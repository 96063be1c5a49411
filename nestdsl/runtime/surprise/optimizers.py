"""Optimizers of levels that learn in context: pure functions of a gradient, a memory and a weight.

Each sequence has its own weights and its own optimizer memories, so all tensors have the batch
in front: [batch, *shape]. The same rules as torch.optim's, one update at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Memory = dict[str, Tensor]
Rule = Callable[[Tensor, Memory, Tensor], tuple[Tensor, Memory]]
"""(gradient, memory, weight) -> (the change of the weight, the next memory)."""


def rule(name: str, arguments: Mapping[str, float | str]) -> Rule:
    """The update rule of an optimizer, with its arguments."""
    numbers = {key: value for key, value in arguments.items() if isinstance(value, int | float)}
    match name:
        case "gd":
            return _gd(numbers["step"], numbers["retain"], arguments.get("toward") == "init")
        case "sgd":
            return _sgd(numbers["lr"], numbers["momentum"], numbers["decay"])
        case "adamw":
            betas = numbers["beta1"], numbers["beta2"]
            return _adamw(numbers["lr"], betas, numbers["eps"], numbers["decay"])
        case "muon":
            return _muon(numbers["lr"], numbers["momentum"], numbers["decay"], numbers["adamw_lr"])
        case _:
            raise ValueError(f"the optimizer {name!r} has no rule for levels that learn in context")


def initial_memory(name: str, arguments: Mapping[str, float | str], weight: Tensor) -> Memory:
    """What an optimizer remembers of a weight [batch, *shape] before its first update.

    That may be the weight itself, with its graph.
    """

    def zeros() -> Tensor:
        return torch.zeros_like(weight).detach()

    count = torch.zeros((), dtype=torch.int64, device=weight.device)
    match name:
        case "gd" if arguments.get("toward") == "init":
            return {"start": weight}
        case "sgd" if arguments["momentum"]:
            return {"m": zeros()}
        case "adamw":
            return {"m": zeros(), "v": zeros(), "count": count}
        case "muon":
            return {"m": zeros()} if _is_matrix(weight) else {"m": zeros(), "v": zeros(), "count": count}
        case _:
            return {}


def move(
    name: str,
    arguments: Mapping[str, float | str],
    gathered: Tensor,
    divisor: int,
    memory: Memory,
    weight: Tensor,
) -> Memory:
    """One update in place, along gathered / divisor: changes the weight and perhaps `gathered`.

    Gives the next memory.
    """
    if name == "gd":
        retain = float(arguments["retain"])
        if retain != 1:
            weight.mul_(retain)
            if "start" in memory:
                weight.add_(memory["start"], alpha=1 - retain)
        weight.add_(gathered, alpha=-float(arguments["step"]) / divisor)
        return memory
    change, memory = rule(name, arguments)(gathered.div_(divisor), memory, weight)
    weight.add_(change)
    return memory


def is_plain_descent(name: str, arguments: Mapping[str, float | str]) -> bool:
    """Whether an update is -step times the gradient and no more."""
    return name == "gd" and float(arguments["retain"]) == 1


def _gd(step: float, retain: float, is_toward_start: bool) -> Rule:
    """W = retain W - step gradient; what is let go may return to the start: + (1 - retain) start."""

    def update(gradient: Tensor, memory: Memory, weight: Tensor) -> tuple[Tensor, Memory]:
        kept = weight - memory["start"] if is_toward_start else weight
        return (retain - 1) * kept - step * gradient, memory

    return update


def _sgd(rate: float, momentum: float, decay: float) -> Rule:
    def update(gradient: Tensor, memory: Memory, weight: Tensor) -> tuple[Tensor, Memory]:
        gradient = gradient + decay * weight
        if not momentum:
            return -rate * gradient, memory
        m = momentum * memory["m"] + gradient
        return -rate * m, {"m": m}

    return update


def _adamw(rate: float, betas: tuple[float, float], eps: float, decay: float) -> Rule:
    first, second = betas

    def update(gradient: Tensor, memory: Memory, weight: Tensor) -> tuple[Tensor, Memory]:
        count = memory["count"] + 1
        m = first * memory["m"] + (1 - first) * gradient
        v = second * memory["v"] + (1 - second) * gradient.square()
        steps = count.to(v.dtype)
        scale = _root(v / (1 - second**steps)) + eps
        change = -rate * (m / (1 - first**steps) / scale + decay * weight)
        return change, {"m": m, "v": v, "count": count}

    return update


def _root(x: Tensor) -> Tensor:
    """√x, whose derivative at 0 is 0: a weight that has had no gradient moves by its first as by m / eps."""
    if not torch.is_grad_enabled():
        return x.sqrt()
    is_there = x > 0
    return x.where(is_there, 1.0).sqrt().where(is_there, 0.0)


def _muon(rate: float, momentum: float, decay: float, adamw_rate: float) -> Rule:
    """Nesterov momentum made orthogonal, for matrices; AdamW for the rest, as torch.optim.Muon does."""
    other = _adamw(adamw_rate, (0.9, 0.999), 1e-8, decay)

    def update(gradient: Tensor, memory: Memory, weight: Tensor) -> tuple[Tensor, Memory]:
        if not _is_matrix(weight):
            return other(gradient, memory, weight)
        m = momentum * memory["m"] + (1 - momentum) * gradient
        direction = newton_schulz(momentum * m + (1 - momentum) * gradient)
        scale = max(1.0, weight.shape[-2] / weight.shape[-1]) ** 0.5
        return -rate * (scale * direction + decay * weight), {"m": m}

    return update


def _is_matrix(weight: Tensor) -> bool:
    """A weight [batch, out, in]; vectors have less, heads have more."""
    return weight.ndim == 3


def newton_schulz(x: Tensor, steps: int = 5) -> Tensor:
    """Singular values of the last two dimensions brought near 1, by the quintic iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = x.shape[-2] > x.shape[-1]
    y = x.mT if tall else x
    y = y / (y.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = y @ y.mT
        y = a * y + (b * gram + c * gram @ gram) @ y
    return y.mT if tall else y
