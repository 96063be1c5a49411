"""The continuum memory system as its equation says it [E71]: the truth for tests, slow and plain.

One row at a time, each level an ordinary layer whose weights are replaced from outside:

    W_{i+1} = W_i + rule(1/C sum_{t in (i-C, i]} grad loss_t(W_i))   at every C-th token, else W_i

A level that starts from another one's state has W_0 = that one's W_0; one that is reset with its
parent takes, whenever the parent moves, the parent's new W in place of its own update [E72].
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from nestdsl.plan.plan import Plan
from nestdsl.runtime.block import State
from nestdsl.runtime.module import NestModule, build
from nestdsl.runtime.surprise.levels import loss_sum, plastic_levels
from nestdsl.runtime.surprise.optimizers import Memory, initial_memory
from nestdsl.runtime.surprise.plastic import Plastic

Weights = dict[str, Tensor]


def naive_loss(model: NestModule, inputs: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of sequences whose levels learn on the way, as `NestModule.loss` gives it.

    inputs and targets [batch, tokens, ...] without missing labels. Outer levels differentiate
    through the updates where all levels say `gradient through`, and through none elsewhere.
    """
    ordinary = build(_without_surprise(model.plan), compile=False).to(next(model.parameters()).dtype)
    totals = [
        _Row(model, ordinary).total(inputs[row : row + 1], targets[row : row + 1])
        for row in range(len(inputs))
    ]
    return torch.stack(totals).sum() / targets.shape[:2].numel()


class _Row:
    """One sequence: the weights that each level has in it, by their full names."""

    def __init__(self, model: NestModule, ordinary: NestModule) -> None:
        self.model, self.ordinary = model, ordinary
        self.levels = {".".join(map(str, level.path)): level for level in plastic_levels(model)}
        self.shared = {_ordinary_name(name): weight for name, weight in model.named_parameters()}
        self.through = any(level.layer.gradient == "through" for level in self.levels.values())
        self.weights: dict[str, Weights] = {}
        self.memories: dict[str, dict[str, Memory]] = {}
        self.sums: dict[str, Weights] = {}
        for path, level in self.levels.items():
            self._start(path, dict(level.layer.layer.named_parameters()))

    def total(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The sum of the losses of all tokens."""
        segment = min(level.layer.period for level in self.levels.values())
        state: State | None = None
        total = torch.zeros((), dtype=torch.float64)
        for first in range(0, inputs.shape[1], segment):
            x, labels = inputs[:, first : first + segment], targets[:, first : first + segment]
            own = {path: {n: w.view_as(w) for n, w in of.items()} for path, of in self.weights.items()}
            seen = {f"{path}.{name}": weight for path, of in own.items() for name, weight in of.items()}
            with sdpa_kernel(SDPBackend.MATH):  # the only one with a second derivative
                y, state = functional_call(self.ordinary, {**self.shared, **seen}, (x, state))
            loss = loss_sum(y, labels, self.model.plan.train.objective)
            total = total + loss
            found = torch.autograd.grad(
                loss, list(seen.values()), retain_graph=True, create_graph=self.through
            )
            gradients = iter(found)
            for path, of in own.items():
                self.sums[path] = {name: self.sums[path][name] + next(gradients) for name in of}
            self._move(first + x.shape[1])
        return total

    def _start(self, path: str, weights: Weights) -> None:
        layer = self.levels[path].layer
        self.weights[path] = weights
        self.memories[path] = {
            name: initial_memory(
                layer.optimizer,
                layer.arguments,
                weight[None] if layer.gradient != "stop" else weight[None].detach(),
            )
            for name, weight in weights.items()
        }
        self.sums[path] = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    def _move(self, tokens: int) -> None:
        """What happens after so many tokens; levels come after the one that they start from."""
        for path, level in self.levels.items():
            if tokens % level.layer.period:
                continue
            parent = ".".join(map(str, level.parent or ()))
            if parent and level.layer.reset == "parent" and tokens % self.levels[parent].layer.period == 0:
                self._start(path, self.weights[parent])
            else:
                self._update(path, level.layer)

    def _update(self, path: str, layer: Plastic) -> None:
        for name, weight in self.weights[path].items():
            mean = (self.sums[path][name] / layer.divisor)[None]
            at = weight if layer.gradient == "through" else weight.detach()
            change, memory = layer.rule(mean, self.memories[path][name], at[None])
            self.weights[path] = {**self.weights[path], name: weight + change[0]}
            self.memories[path][name] = memory
            self.sums[path][name] = torch.zeros_like(weight)


def _without_surprise(plan: Plan) -> Plan:
    """The same model with ordinary layers in place of levels that learn from surprise in context."""
    bodies = tuple(
        replace(
            body,
            levels=tuple(
                replace(level, surprise=None, stateful=level.stateful and _keeps_state(level.kind))
                if level.surprise
                else level
                for level in body.levels
            ),
        )
        for body in plan.bodies
    )
    return replace(plan, bodies=bodies)


def _keeps_state(kind: str) -> bool:
    return kind == "conv"


def _ordinary_name(name: str) -> str:
    return name.replace(".layer.", ".")
