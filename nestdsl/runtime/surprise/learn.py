"""How levels learn from surprise in context: segment by segment, each row for itself [E71].

A sequence is read in segments as long as the shortest period. A segment's loss gives, for each
row, the gradient of that row's own weights, at the weights its tokens saw; it looks back no
further than the segment. It gathers, and at the end of a level's period the weights take one
step along its mean. The loss at position i, whose label is token i + 1, so moves only weights
that read token i + 1 and later.

Here the graph of the whole sequence is kept; `cut.py` is for states that are cut at segment ends, and
`window.py` for those that look back over some segments.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from enum import Enum
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from nestdsl.plan.reach import reach
from nestdsl.runtime.block import Run, State
from nestdsl.runtime.carried import settled
from nestdsl.runtime.surprise.cut import cut_loss
from nestdsl.runtime.surprise.levels import PlasticLevel, get, loss_sum, put, segments, target_count
from nestdsl.runtime.surprise.plastic import Plastic
from nestdsl.runtime.surprise.window import window_loss

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule


class Graph(Enum):
    """How much of the graph is kept while a sequence is read.

    CUT: states are cut at segment boundaries; the backward pass of each segment gives both the
    rows' gradients and the outer ones, and its memory is freed. WHOLE: the outer levels
    differentiate through the states of memories over the whole sequence, not through the
    updates. THROUGH: also through the updates. WINDOW: each state as far back as it says for itself
    (`plan/reach.py`); each segment has a graph of its own, and those too old are freed.
    """

    CUT = "cut"
    WHOLE = "whole"
    THROUGH = "through"
    WINDOW = "window"


def training_loss(
    model: NestModule,
    inputs: Tensor,
    targets: Tensor,
    levels: list[PlasticLevel],
    state: State,
    *,
    goes_on: bool = False,
) -> tuple[Tensor, State]:
    """The mean loss of sequences whose levels learn on the way; its gradient is that of the outer levels.

    inputs and targets as in `NestModule.loss`, from a state without a graph. Gives the state after
    them as well, whole if a stream `goes_on` from it.
    """
    graph = model.graph_kept()
    if graph is Graph.CUT or not torch.is_grad_enabled():
        return cut_loss(model, inputs, targets, levels, state, goes_on=goes_on)
    if graph is Graph.WINDOW:
        reaches = reach(model.plan)
        is_through = any(reaches.updates.values())
        learner = Learner(model, levels, Graph.THROUGH if is_through else Graph.WHOLE)
        return window_loss(learner, reaches, inputs, targets, learner.resumed(state))
    learner = Learner(model, levels, graph)
    state = learner.resumed(state)
    lengths = segments(levels, state, inputs.shape[1])
    totals: list[Tensor] = []
    for x, labels in zip(inputs.split(lengths, 1), targets.split(lengths, 1), strict=True):
        state, total = learner.segment(x, labels, state)
        totals.append(total)
    return torch.stack(totals).sum() / target_count(targets), state


class Learner:
    """Reads segments and lets the rows' weights learn from them, with the graph of all that is read."""

    def __init__(self, model: NestModule, levels: list[PlasticLevel], graph: Graph) -> None:
        self.model = model
        self.levels = levels
        self.graph = graph
        # Second derivatives are not compiled.
        self.run = Run() if graph is Graph.THROUGH else model.steady_run()

    def segment(self, x: Tensor, labels: Tensor, state: State) -> tuple[State, Tensor]:
        """One segment: the state after it and the sum of its losses, with its graph."""
        is_through = self.graph is Graph.THROUGH
        with sdpa_kernel([SDPBackend.MATH]) if is_through else nullcontext():
            state = settled(self.started(state, x.shape[0]))
            reading, own = self._own_weights(state)
            outputs, following = self.run.block(self.model, x, reading)
            total = loss_sum(outputs, labels, self.model.plan.train.objective)
            leaves = [weight for weights in own for weight in weights.values()]
            with torch.autocast(x.device.type, enabled=False):
                found = torch.autograd.grad(
                    total, leaves, allow_unused=True, retain_graph=True, create_graph=is_through
                )
        rows = (
            torch.zeros_like(part) if grad is None else grad for part, grad in zip(leaves, found, strict=True)
        )
        with torch.autocast(x.device.type, enabled=False):
            return self._learned(state, following, rows, x.shape[1]), total

    def resumed(self, state: State) -> State:
        """A state in which weights that have learned before have the gradient of their start."""
        for level in self.levels:
            part = get(state, level.path)
            if not level.carried:
                part = {key: value for key, value in part.items() if key == "layer"}
            elif "weights" in part:
                own = dict(level.layer.layer.named_parameters())
                weights = part["weights"]
                part = {
                    **part,
                    "weights": {name: weights[name] + (own[name] - own[name].detach()) for name in weights},
                }
            state = put(state, level.path, part)
        return state

    def started(self, state: State, batch: int) -> State:
        """The state with weights of each row's own, in which a context that learns begins."""
        for level in self.levels:
            part = get(state, level.path)
            if "weights" in part:
                continue
            if level.parent is None:
                start = level.layer.start(batch)
            else:
                start = level.layer.start_at(get(state, level.parent)["weights"])
            state = put(state, level.path, {**part, **start})
        return state

    def _own_weights(self, state: State) -> tuple[State, list[dict[str, Tensor]]]:
        """The state with weights of this segment's own, whose gradient looks back no further."""
        own: list[dict[str, Tensor]] = []
        for level in self.levels:
            part = get(state, level.path)
            weights = {name: weight.view_as(weight) for name, weight in part["weights"].items()}
            own.append(weights)
            # Only what reading needs: the rest changes from segment to segment, and is no part of a graph.
            reading = {key: value for key, value in part.items() if key == "layer"}
            state = put(state, level.path, {**reading, "weights": weights})
        return state, own

    def _learned(self, before: State, state: State, rows: Iterator[Tensor], tokens: int) -> State:
        """The state after gathering a segment's gradients, with the updates that fall at its end."""
        is_through = self.graph is Graph.THROUGH
        for level in self.levels:
            part = {**get(before, level.path), **get(state, level.path)}
            gathered = {name: sums + next(rows) for name, sums in part["gathered"].items()}
            read = part["read"] + tokens
            if read == level.layer.period and _is_reset(level, state):
                assert level.parent is not None
                part = {**part, **level.layer.start_at(get(state, level.parent)["weights"])}
                gathered, read = part["gathered"], 0
            elif read == level.layer.period:
                part = self._updated(level.layer, part, gathered, is_through)
                gathered = {name: torch.zeros_like(sums).detach() for name, sums in gathered.items()}
                read = 0
            state = put(state, level.path, {**part, "gathered": gathered, "read": read})
        return state

    def _updated(self, layer: Plastic, part: State, gathered: dict[str, Tensor], is_through: bool) -> State:
        keeps = is_through and layer.gradient != "stop"
        weights, memories = dict(part["weights"]), dict(part["memories"])
        with torch.set_grad_enabled(keeps):
            for name, sums in gathered.items():
                mean = sums / layer.divisor
                weight = weights[name] if keeps else weights[name].detach()
                change, memories[name] = layer.optimizer.change(mean, memories[name], weight)
                gathered[name] = change
        for name, change in gathered.items():
            weights[name] = weights[name] + change
        return {**part, "weights": weights, "memories": memories}


def _is_reset(level: PlasticLevel, state: State) -> bool:
    """Whether a level at the end of its period starts anew, from a parent that has just moved [E72]."""
    return (
        level.layer.reset == "parent" and level.parent is not None and get(state, level.parent)["read"] == 0
    )
