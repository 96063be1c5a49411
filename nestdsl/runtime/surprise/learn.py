"""How levels learn from surprise in context: segment by segment, each row for itself [E71].

A sequence is read in segments as long as the shortest period. A segment's loss gives, for each
row, the gradient of that row's own weights, at the weights its tokens saw; it looks back no
further than the segment. It gathers, and at the end of a level's period the weights take one
step along its mean. The loss at position i, whose label is token i + 1, so moves only weights
that read token i + 1 and later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from nestdsl.runtime.block import Block, Run, State, blocks_of
from nestdsl.runtime.surprise.plastic import Plastic

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule

Path = tuple[str | int, ...]


class Graph(Enum):
    """How much of the graph is kept while a sequence is read.

    CUT: states are cut at segment boundaries; the backward pass of each segment gives both the
    rows' gradients and the outer ones, and its memory is freed. WHOLE: the outer levels
    differentiate through the states of memories over the whole sequence, not through the
    updates. THROUGH: also through the updates.
    """

    CUT = "cut"
    WHOLE = "whole"
    THROUGH = "through"


@dataclass(frozen=True, slots=True)
class PlasticLevel:
    """A level that learns from surprise in context, and where its state stands in the model's."""

    path: Path
    layer: Plastic


def plastic_levels(block: Block, path: Path = ()) -> Iterator[PlasticLevel]:
    """All levels of a model that learn from surprise in context."""
    for name in block.stateful:
        part = getattr(block, name)
        if isinstance(part, Plastic):
            yield PlasticLevel((*path, name), part)
    for name in block.blocks:
        part = getattr(block, name)
        for number, copy in enumerate(blocks_of(part)):
            inner = (*path, name, number) if isinstance(part, nn.ModuleList) else (*path, name)
            yield from plastic_levels(copy, inner)


def segment_tokens(levels: list[PlasticLevel]) -> int:
    """The shortest period, which divides all others."""
    return min(level.layer.period for level in levels)


def training_loss(model: NestModule, inputs: Tensor, targets: Tensor, levels: list[PlasticLevel]) -> Tensor:
    """The mean loss of sequences whose levels learn on the way; its gradient is that of the outer levels.

    inputs and targets as in `NestModule.loss`.
    """
    learner = Learner(model, levels, model.graph_kept())
    count = _target_count(targets)
    state = model.init_state(inputs.shape[0])
    segment = segment_tokens(levels)
    totals: list[Tensor] = []
    wanted = [weight for weight in model.parameters() if weight.requires_grad and torch.is_grad_enabled()]
    gathered: dict[nn.Parameter, Tensor] = {}
    for x, labels in zip(inputs.split(segment, 1), targets.split(segment, 1), strict=True):
        _, state, total, outer = learner.segment(x, labels, state, wanted)
        totals.append(total)
        for weight, gradient in outer.items():
            gathered[weight] = gathered[weight] + gradient if weight in gathered else gradient
    loss = torch.stack(totals).sum() / count
    if not gathered:
        return loss
    # A value whose gradient with respect to each weight is the one that was gathered.
    carried = sum((weight * gradient).sum() / count for weight, gradient in gathered.items())
    assert isinstance(carried, Tensor)
    return loss + carried - carried.detach()


class Learner:
    """Reads segments and lets the rows' weights learn from them."""

    def __init__(self, model: NestModule, levels: list[PlasticLevel], graph: Graph) -> None:
        self.model = model
        self.levels = levels
        self.graph = graph
        # What a cache holds grows from segment to segment, and second derivatives are not compiled.
        steady = graph is not Graph.THROUGH and not model.state_grows()
        self.run = model.run if steady else Run()

    def segment(
        self, x: Tensor, labels: Tensor, state: State, wanted: list[nn.Parameter]
    ) -> tuple[Tensor, State, Tensor, dict[nn.Parameter, Tensor]]:
        """One segment: outputs, the state after it, the sum of its losses, and outer gradients of that sum.

        The outer gradients are there only where the graph is cut; else the sum has its graph.
        """
        is_cut = self.graph is Graph.CUT
        outer_enabled = torch.is_grad_enabled()
        with (
            torch.enable_grad(),
            sdpa_kernel([SDPBackend.MATH]) if self.graph is Graph.THROUGH else nullcontext(),
        ):
            state = self._started(state, x.shape[0])
            reading, own = self._own_weights(state, is_cut or not outer_enabled)
            outputs, following = self.run.block(self.model, x, reading)
            total = loss_sum(outputs, labels, self.model.plan.train.objective)
            leaves = [weight for weights in own for weight in weights.values()]
            asked = [*leaves, *wanted] if is_cut else leaves
            found = torch.autograd.grad(
                total,
                asked,
                allow_unused=True,
                retain_graph=outer_enabled and not is_cut,
                create_graph=outer_enabled and self.graph is Graph.THROUGH,
            )
        found = [
            torch.zeros_like(part) if grad is None else grad for part, grad in zip(asked, found, strict=True)
        ]
        rows, outer = found[: len(leaves)], dict(zip(wanted, found[len(leaves) :], strict=False))
        if is_cut:
            self._add_shared(outer, own, rows)
        cut = is_cut or not outer_enabled
        following = _cut(following) if cut else following
        following = self._learned(state, following, iter(rows), x.shape[1])
        return (outputs.detach() if cut else outputs), following, total.detach() if cut else total, outer

    def _started(self, state: State, batch: int) -> State:
        """The state with weights of each row's own, in which a context that learns begins."""
        for level in self.levels:
            part = get(state, level.path)
            if "weights" not in part:
                state = put(state, level.path, {**part, **level.layer.start(batch)})
        return state

    def _own_weights(self, state: State, is_cut: bool) -> tuple[State, list[dict[str, Tensor]]]:
        """The state with weights of this segment's own, whose gradient looks back no further."""
        own: list[dict[str, Tensor]] = []
        for level in self.levels:
            part = get(state, level.path)
            weights = {
                name: weight.detach().requires_grad_() if is_cut else weight.view_as(weight)
                for name, weight in part["weights"].items()
            }
            own.append(weights)
            # Only what reading needs: the rest changes from segment to segment, and is no part of a graph.
            reading = {key: value for key, value in part.items() if key == "layer"}
            state = put(state, level.path, {**reading, "weights": weights})
        return state, own

    def _add_shared(
        self, outer: dict[nn.Parameter, Tensor], own: list[dict[str, Tensor]], rows: list[Tensor]
    ) -> None:
        """The shared start of the weights gets the sum of the rows' gradients (first order)."""
        gradients = iter(rows)
        for level, weights in zip(self.levels, own, strict=True):
            for name in weights:
                shared, gradient = level.layer.layer.get_parameter(name), next(gradients).sum(0)
                if shared in outer:
                    outer[shared] = outer[shared] + gradient

    def _learned(self, before: State, state: State, rows: Iterator[Tensor], tokens: int) -> State:
        """The state after gathering a segment's gradients, with the updates that fall at its end."""
        is_through = self.graph is Graph.THROUGH
        for level in self.levels:
            part = {**get(before, level.path), **get(state, level.path)}
            gathered = {name: sums + next(rows) for name, sums in part["gathered"].items()}
            read = part["read"] + tokens
            if read == level.layer.period:
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
                change, memories[name] = layer.rule(mean, memories[name], weight)
                gathered[name] = change
        for name, change in gathered.items():
            weights[name] = weights[name] + change
        return {**part, "weights": weights, "memories": memories}


def _cut(state: Any) -> Any:
    """A state with its graph cut, but for the starts to which retention lets memories return.

    Those are no state that moved but the learned start itself, to which every segment leads back.
    """
    match state:
        case dict():
            return {
                name: part if str(name).startswith("start") else _cut(part) for name, part in state.items()
            }
        case list():
            return [_cut(part) for part in state]
        case Tensor():
            return state.detach()
        case _:
            return state


def loss_sum(outputs: Tensor, targets: Tensor, objective: str) -> Tensor:
    """The sum over rows and tokens of the loss of each token."""
    if objective == "cross_entropy":
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="sum")
    return (outputs - targets).square().mean(-1).sum()


def _target_count(targets: Tensor) -> Tensor | int:
    return (targets != -100).sum() if not targets.is_floating_point() else targets.shape[0] * targets.shape[1]


def get(state: Any, path: Path) -> Any:
    """The part of a state at a path."""
    for key in path:
        state = state[key]
    return state


def put(state: Any, path: Path, part: Any) -> Any:
    """A state with another part at a path; nothing is changed in place."""
    if not path:
        return part
    changed = put(state[path[0]], path[1:], part)
    if isinstance(state, list):
        return [changed if number == path[0] else old for number, old in enumerate(state)]
    return {**state, path[0]: changed}
