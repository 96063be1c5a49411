"""The continuum memory system as its equation says it [E71]: the truth for tests, slow and plain.

One row at a time, each level an ordinary layer whose weights are replaced from outside:

    W_{i+1} = W_i + rule(1/C sum_{t in (i-C, i]} grad loss_t(W_i))   at every C-th token, else W_i
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
from nestdsl.runtime.surprise.optimizers import initial_memory

Weights = dict[str, Tensor]


def naive_loss(model: NestModule, inputs: Tensor, targets: Tensor) -> Tensor:
    """The mean loss of sequences whose levels learn on the way, as `NestModule.loss` gives it.

    inputs and targets [batch, tokens, ...] without missing labels. Outer levels differentiate
    through the updates where all levels say `gradient through`, and through none elsewhere.
    """
    ordinary = build(_without_surprise(model.plan), compile=False).to(next(model.parameters()).dtype)
    start: Weights = {_ordinary_name(name): weight for name, weight in model.named_parameters()}
    totals = [
        _row(model, ordinary, start, inputs[row : row + 1], targets[row : row + 1])
        for row in range(len(inputs))
    ]
    return torch.stack(totals).sum() / targets.shape[:2].numel()


def _row(model: NestModule, ordinary: NestModule, start: Weights, inputs: Tensor, targets: Tensor) -> Tensor:
    levels = {".".join(map(str, level.path)): level.layer for level in plastic_levels(model)}
    segment = min(layer.period for layer in levels.values())
    own = {name: path for name in start for path in levels if name.startswith(f"{path}.")}
    current: Weights = {name: start[name] for name in own}
    memories = {
        name: initial_memory(
            levels[path].optimizer,
            levels[path].arguments,
            start[name][None] if levels[path].gradient != "stop" else start[name][None].detach(),
        )
        for name, path in own.items()
    }
    sums: Weights = {name: torch.zeros_like(start[name]) for name in own}
    state: State | None = None
    total = torch.zeros((), dtype=next(iter(start.values())).dtype)
    through = any(layer.gradient == "through" for layer in levels.values())
    for first in range(0, inputs.shape[1], segment):
        x, labels = inputs[:, first : first + segment], targets[:, first : first + segment]
        seen = {name: weight.view_as(weight) for name, weight in current.items()}
        with sdpa_kernel(SDPBackend.MATH):  # the only one with a second derivative
            y, state = functional_call(ordinary, {**start, **seen}, (x, state))
        loss = loss_sum(y, labels, model.plan.train.objective)
        total = total + loss
        found = torch.autograd.grad(loss, list(seen.values()), retain_graph=True, create_graph=through)
        for name, gradient in zip(seen, found, strict=True):
            layer = levels[own[name]]
            sums[name] = sums[name] + gradient
            if (first + x.shape[1]) % layer.period == 0:
                mean = (sums[name] / layer.divisor)[None]
                weight = current[name] if layer.gradient == "through" else current[name].detach()
                change, memories[name] = layer.rule(mean, memories[name], weight[None])
                current[name] = current[name] + change[0]
                sums[name] = torch.zeros_like(sums[name])
    return total


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
