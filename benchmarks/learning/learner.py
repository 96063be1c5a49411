"""What learns: a face that programs of ours and modules of others share."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestdsl.api import Nest
from nestdsl.runtime.step_levels import NonFiniteGradient, StepLevels

CLIP = 1.0
"""The longest gradient, of everybody."""


class Learner(Protocol):
    """A model with its optimizer."""

    @property
    def parameters(self) -> int:
        """How many numbers it learns."""
        ...

    def learn(self, inputs: Tensor, targets: Tensor, number: int, scale: float) -> float:
        """Step `number` (from 1 on) at `scale` times its rates: the loss before it, in nats.

        Raises NonFiniteGradient where it diverges."""
        ...

    def loss(self, inputs: Tensor, targets: Tensor) -> float:
        """The mean loss over the targets, in nats; nothing that lasts is learned."""
        ...

    def answers(self, inputs: Tensor) -> Tensor:
        """The likeliest id for each token, [batch, tokens]; no label is shown on the way."""
        ...


class ProgramLearner:
    """A program of ours, moved by the optimizers and at the rates that it says."""

    def __init__(self, nest: Nest, seed: int, *, rate_factor: float = 1.0, compile: bool = False) -> None:
        self.model = nest.compile(compile=compile, seed=seed)
        self._levels = StepLevels(self.model)
        self._factor = rate_factor
        if rate_factor != 1 and not self._levels.follow_run:
            raise ValueError("the optimizer has a schedule of its own, so that its rates cannot be scaled")

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.model.parameters() if weight.requires_grad)

    def learn(self, inputs: Tensor, targets: Tensor, number: int, scale: float) -> float:
        self.model.train()
        loss = self.model.loss(inputs, targets)
        loss.backward()
        self._levels.step(number, scale * self._factor, CLIP)
        return float(loss.detach())

    def loss(self, inputs: Tensor, targets: Tensor) -> float:
        self.model.eval()
        return float(self.model.loss(inputs, targets).detach())

    def answers(self, inputs: Tensor) -> Tensor:
        self.model.eval()
        with torch.no_grad():
            return self.model(inputs)[0].argmax(-1)


class ModuleLearner:
    """A module that maps ids to logits, moved by AdamW; only its matrices decay."""

    def __init__(
        self, module: nn.Module, rate: float, *, decay: float = 0.1, betas: tuple[float, float] = (0.9, 0.95)
    ) -> None:
        self.module = module
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        matrices = [weight for weight in weights if weight.ndim >= 2]
        others = [weight for weight in weights if weight.ndim < 2]
        groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        self._rate = rate
        self._optimizer = torch.optim.AdamW([group for group in groups if group["params"]], rate, betas)

    @property
    def parameters(self) -> int:
        return sum(weight.numel() for weight in self.module.parameters() if weight.requires_grad)

    def learn(self, inputs: Tensor, targets: Tensor, number: int, scale: float) -> float:
        self.module.train()
        self._optimizer.zero_grad()
        loss = self.backward(inputs, targets)
        move(self._optimizer, self.module, self._rate * scale)
        return loss

    def backward(self, inputs: Tensor, targets: Tensor) -> float:
        """Gathers the gradients of the mean loss, which it gives."""
        loss = mean_loss(self.module(inputs), targets)
        loss.backward()
        return float(loss.detach())

    def loss(self, inputs: Tensor, targets: Tensor) -> float:
        self.module.eval()
        with torch.no_grad():
            return float(mean_loss(self.module(inputs), targets))

    def answers(self, inputs: Tensor) -> Tensor:
        self.module.eval()
        with torch.no_grad():
            return self.module(inputs).argmax(-1)


def move(optimizer: torch.optim.Optimizer, module: nn.Module, rate: float) -> None:
    """One step of an optimizer at a rate, of gradients of at most `CLIP`. Raises NonFiniteGradient."""
    norm = nn.utils.clip_grad_norm_(module.parameters(), CLIP)
    if not bool(norm.isfinite()):
        names = (
            n for n, w in module.named_parameters() if w.grad is not None and not w.grad.isfinite().all()
        )
        raise NonFiniteGradient(next(names, ""), type(module).__name__)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
