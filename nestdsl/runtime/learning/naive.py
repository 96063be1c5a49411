"""The continuum memory system as Nested Learning, Eq. 71, has it: the truth for tests, slow and plain.

One row at a time, each level an ordinary layer whose weights are replaced from outside:

    W_{i+1} = W_i + rule(1/C sum_{t in (i-C, i]} grad loss_t(W_i))   at every C-th token, else W_i

A level that starts from another one's state has W_0 = that one's W_0; one that is reset with its
parent takes, whenever the parent moves, the parent's new W in place of its own update [Nested Learning, Eq.
72]. How far back the loss of a segment is differentiated is what `plan/reach.py` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from nestdsl.plan.plan import LevelPlan, Plan
from nestdsl.plan.reach import Path, Reach, reach
from nestdsl.runtime.build import build
from nestdsl.runtime.learning.levels import loss_sum, plastic_levels
from nestdsl.runtime.learning.optimizers import Memory
from nestdsl.runtime.learning.plastic import Plastic
from nestdsl.runtime.module import NestModule
from nestdsl.runtime.state import State
from nestdsl.vocabulary.signatures import LIBRARY
from nestdsl.vocabulary.timing import STOP, Reset

Weights = dict[str, Tensor]
Constant = Callable[[Tensor], Tensor]
"""Makes a constant of a tensor."""


def naive_loss(
    model: NestModule, inputs: Tensor, targets: Tensor, constant: Constant = Tensor.detach
) -> Tensor:
    """The mean loss of sequences whose levels learn on the way, as `NestModule.loss` gives it.

    inputs and targets [batch, tokens, ...] without missing labels. The loss of each segment is computed
    again from the start of the context, with all made `constant` that is so as seen from this segment.
    """
    ordinary = build(without_surprise(model.plan), compile=False, load=False)
    ordinary.to(next(model.parameters()).dtype)
    segments = -(-inputs.shape[1] // model.plan.clock.segment_tokens)
    totals = [
        _Row(model, ordinary, last, constant).total(inputs[row : row + 1], targets[row : row + 1])
        for row in range(len(inputs))
        for last in range(segments)
    ]
    return torch.stack(totals).sum() / targets.shape[:2].numel()


class _Row:
    """One sequence up to segment `last`: the weights that each level has in it, by their full names."""

    def __init__(self, model: NestModule, ordinary: NestModule, last: int, constant: Constant) -> None:
        self.model, self.ordinary = model, ordinary
        self.last, self.constant = last, constant
        self.reach = reach(model.plan)
        self.levels = {".".join(map(str, level.path)): level for level in plastic_levels(model)}
        self.shared = {ordinary_name(name): weight for name, weight in model.named_parameters()}
        self.weights: dict[str, Weights] = {}
        self.memories: dict[str, dict[str, Memory]] = {}
        self.sums: dict[str, Weights] = {}
        for path, level in self.levels.items():
            self._start(path, dict(level.layer.layer.named_parameters()))

    def total(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The sum of the losses of the last segment's tokens."""
        segment = self.model.plan.clock.segment_tokens
        state: State | None = None
        for number in range(self.last + 1):
            x, labels = inputs.split(segment, 1)[number], targets.split(segment, 1)[number]
            if number > 0:
                state = _as_seen(state, self.last - number, self.reach, self.constant)
            own = {path: {n: w.view_as(w) for n, w in of.items()} for path, of in self.weights.items()}
            seen = {f"{path}.{name}": weight for path, of in own.items() for name, weight in of.items()}
            with sdpa_kernel(SDPBackend.MATH):  # the only one with a second derivative
                y, state = functional_call(self.ordinary, {**self.shared, **seen}, (x, state))
            loss = loss_sum(y, labels, self.model.plan.train.objective)
            if number == self.last:
                return loss
            is_through = any(self.reach.updates.values())
            found = torch.autograd.grad(loss, list(seen.values()), retain_graph=True, create_graph=is_through)
            gradients = iter(found)
            for path, of in own.items():
                self.sums[path] = {name: self.sums[path][name] + next(gradients) for name in of}
            self._move((number + 1) * segment)
        raise AssertionError("the last segment has returned its loss")

    def _start(self, path: str, weights: Weights) -> None:
        self.weights[path] = weights
        self.memories[path] = memories_at(self.levels[path].layer, weights)
        self.sums[path] = {name: torch.zeros_like(weight) for name, weight in weights.items()}

    def _move(self, tokens: int) -> None:
        """What happens after so many tokens; levels come after the one that they start from."""
        for path, level in self.levels.items():
            if tokens % level.layer.period:
                continue
            parent = ".".join(map(str, level.parent or ()))
            if (
                parent
                and level.layer.reset is Reset.PARENT
                and tokens % self.levels[parent].layer.period == 0
            ):
                self._start(path, self.weights[parent])
            else:
                self._update(path, level.layer, tokens)

    def _update(self, path: str, layer: Plastic, tokens: int) -> None:
        later = self.last * self.model.plan.clock.segment_tokens // layer.period - tokens // layer.period
        is_constant = later >= self.reach.updates[self.levels[path].path]
        for name, weight in self.weights[path].items():
            mean = (self.sums[path][name] / layer.divisor)[None]
            change, memory = layer.optimizer.change(mean, self.memories[path][name], weight[None])
            if is_constant:
                change = self.constant(change)
                memory = {
                    key: self.constant(part) if isinstance(part, Tensor) and key != "start" else part
                    for key, part in memory.items()
                }
            self.weights[path] = {**self.weights[path], name: weight + change[0]}
            self.memories[path][name] = memory
            self.sums[path][name] = torch.zeros_like(weight)


def _as_seen(state: Any, back: int, reaches: Reach, constant: Constant, path: Path = ()) -> Any:
    """The state before a segment, as the loss of the one `back` segments later sees it."""
    match state:
        case dict():
            return {
                name: part
                if isinstance(part, Tensor) and name.startswith("start")
                else _as_seen(part, back, reaches, constant, (*path, name))
                for name, part in state.items()
            }
        case list():
            return [
                _as_seen(part, back, reaches, constant, (*path, number)) for number, part in enumerate(state)
            ]
        case Tensor() if back + 1 >= reaches.segments(path):
            return constant(state)
        case _:
            return state


def memories_at(layer: Plastic, weights: Weights) -> dict[str, Memory]:
    """What the level's optimizer remembers of weights that a row starts to learn with."""
    kept = {name: weight if layer.gradient != STOP else weight.detach() for name, weight in weights.items()}
    return {name: layer.optimizer.initial_memory(weight[None]) for name, weight in kept.items()}


def without_surprise(plan: Plan) -> Plan:
    """The same model with ordinary layers in place of levels that learn from surprise in context."""
    bodies = tuple(
        replace(
            body,
            levels=tuple(
                replace(
                    level,
                    surprise=None,
                    stateful=level.stateful and _keeps_state(level),
                    carried=level.carried and _keeps_state(level),
                )
                if level.surprise
                else level
                for level in body.levels
            ),
        )
        for body in plan.bodies
    )
    return replace(plan, bodies=bodies)


def _keeps_state(level: LevelPlan) -> bool:
    return LIBRARY.kinds[level.kind].keeps_state(dict(level.arguments))


def ordinary_name(name: str) -> str:
    """The name of a weight in that model."""
    return name.replace(".layer.", ".")
