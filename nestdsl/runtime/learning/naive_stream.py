"""A stream as its equations say it: the truth for tests of `reset never`, slow and plain.

One row at a time, each level an ordinary layer whose weights are replaced from outside. From one
sequence to the next a level that is carried keeps its weights, its optimizer's memories and what it
has gathered, as numbers; the outer gradient of its weights is one of their start (first order).
All levels differentiate through their updates, or none does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from nestdsl.runtime.build import build
from nestdsl.runtime.learning.levels import loss_sum, plastic_levels
from nestdsl.runtime.learning.naive import Weights, memories_at, ordinary_name, without_surprise
from nestdsl.runtime.learning.optimizers import Memory
from nestdsl.runtime.learning.plastic import Plastic
from nestdsl.runtime.module import NestModule
from nestdsl.runtime.state import State
from nestdsl.vocabulary.timing import THROUGH, Reset


def naive_stream(model: NestModule, sequences: list[tuple[Tensor, Tensor]]) -> list[Tensor]:
    """The losses of sequences that follow one another in each row, as `NestModule.stream_loss` gives them."""
    ordinary = build(without_surprise(model.plan), compile=False, load=False)
    ordinary.to(next(model.parameters()).dtype)
    rows = [_Row(model, ordinary) for _ in sequences[0][0]]
    losses: list[Tensor] = []
    for inputs, targets in sequences:
        totals = [one.total(inputs[row : row + 1], targets[row : row + 1]) for row, one in enumerate(rows)]
        losses.append(torch.stack(totals).sum() / targets.shape[:2].numel())
        for one in rows:
            one.next_sequence()
    return losses


class _Row:
    """One row of a stream: the weights that each level has in it, by their full names."""

    def __init__(self, model: NestModule, ordinary: NestModule) -> None:
        self.model, self.ordinary = model, ordinary
        self.levels = {".".join(map(str, level.path)): level for level in plastic_levels(model)}
        self.shared = {ordinary_name(name): weight for name, weight in model.named_parameters()}
        self.through = any(level.layer.gradient == THROUGH for level in self.levels.values())
        self.weights: dict[str, Weights] = {}
        self.memories: dict[str, dict[str, Memory]] = {}
        self.sums: dict[str, Weights] = {}
        self.read: dict[str, int] = {}
        self.state: State | None = None
        for path, level in self.levels.items():
            self._start(path, dict(level.layer.layer.named_parameters()))

    def total(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The sum of the losses of all tokens."""
        total = torch.zeros((), dtype=torch.float64)
        first = 0
        while first < inputs.shape[1]:
            last = first + min(level.layer.period - self.read[path] for path, level in self.levels.items())
            x, labels = inputs[:, first:last], targets[:, first:last]
            own = {path: {n: w.view_as(w) for n, w in of.items()} for path, of in self.weights.items()}
            seen = {f"{path}.{name}": weight for path, of in own.items() for name, weight in of.items()}
            with sdpa_kernel(SDPBackend.MATH):  # the only one with a second derivative
                y, self.state = functional_call(self.ordinary, {**self.shared, **seen}, (x, self.state))
            loss = loss_sum(y, labels, self.model.plan.train.objective)
            total = total + loss
            found = torch.autograd.grad(
                loss, list(seen.values()), retain_graph=True, create_graph=self.through
            )
            gradients = iter(found)
            for path, of in own.items():
                self.sums[path] = {name: self.sums[path][name] + next(gradients) for name in of}
                self.read[path] += x.shape[1]
            self._move()
            first = last
        return total

    def next_sequence(self) -> None:
        """What is carried keeps only the graph from its start (first order); the rest begins again."""
        assert self.state is not None
        self.state = self.ordinary.detach_state(self.ordinary.reset_state(self.state))
        for path, level in self.levels.items():
            start: Weights = dict(level.layer.layer.named_parameters())
            if level.carried:
                for name, weight in self.weights[path].items():
                    self.weights[path][name] = weight.detach() + start[name] - start[name].detach()
                    memory = {
                        key: value.detach() if isinstance(value, Tensor) else value
                        for key, value in self.memories[path][name].items()
                    }
                    if "start" in memory and level.layer.reset is not Reset.PARENT:
                        memory["start"] = level.layer.shared_start(name, 1)
                    self.memories[path][name] = memory
                    self.sums[path][name] = self.sums[path][name].detach()
            else:
                parent = ".".join(map(str, level.parent or ()))
                self._start(path, dict(self.weights[parent]) if parent else start)

    def _start(self, path: str, weights: Weights) -> None:
        self.weights[path] = weights
        self.memories[path] = memories_at(self.levels[path].layer, weights)
        self.sums[path] = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        self.read[path] = 0

    def _move(self) -> None:
        """What happens at the ends of periods; levels come after the one that they start from."""
        for path, level in self.levels.items():
            if self.read[path] < level.layer.period:
                continue
            self.read[path] = 0
            parent = ".".join(map(str, level.parent or ()))
            if parent and level.layer.reset is Reset.PARENT and self.read[parent] == 0:
                self._start(path, dict(self.weights[parent]))
            else:
                self._update(path, level.layer)

    def _update(self, path: str, layer: Plastic) -> None:
        for name, weight in self.weights[path].items():
            mean = (self.sums[path][name] / layer.divisor)[None]
            at = weight if layer.gradient == THROUGH else weight.detach()
            change, memory = layer.optimizer.change(mean, self.memories[path][name], at[None])
            self.weights[path] = {**self.weights[path], name: weight + change[0]}
            self.memories[path][name] = memory
            self.sums[path][name] = torch.zeros_like(weight)
