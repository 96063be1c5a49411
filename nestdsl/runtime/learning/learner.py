"""How levels learn from surprise in context, segment by segment, each row for itself.

Nested Learning, Eq. 71. A sequence is read in segments as long as the shortest period. A segment's loss
gives, for each row, the gradient of that row's own weights, at the weights its tokens saw; it looks back no
further than the segment. It gathers, and at the end of a level's period the weights take one step along its
mean. The loss at position i, whose label is token i + 1, so moves only weights that read token i + 1 and
later.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from nestdsl.runtime.learning.levels import PlasticLevel, loss_sum, tokens_read
from nestdsl.runtime.learning.plastic import Plastic
from nestdsl.runtime.learning.reader import Reader
from nestdsl.runtime.state import State, get, put, settled
from nestdsl.vocabulary.timing import STOP, Reset


class Learner:
    """Reads segments and lets the rows' weights learn from them, with the graph of all that is read."""

    def __init__(self, reader: Reader, *, through_updates: bool) -> None:
        self.reader = reader
        self.levels = reader.levels
        self.through_updates = through_updates

    def segment(self, x: Tensor, labels: Tensor, state: State) -> tuple[State, Tensor]:
        """One segment: the state after it and the sum of its losses, with its graph."""
        # Of attention's kernels one alone has a second derivative.
        with sdpa_kernel([SDPBackend.MATH]) if self.through_updates else nullcontext():
            state = settled(self.started(state, x.shape[0]))
            reading, own = self._own_weights(state)
            total, following, found = self._differentiated(x, labels, reading, own)
        rows = (part for of_level in found for part in of_level.values())
        with torch.autocast(x.device.type, enabled=False):
            return self._learned(state, following, rows, x.shape[1]), total

    def _differentiated(
        self, x: Tensor, labels: Tensor, reading: State, own: list[dict[str, Tensor]]
    ) -> tuple[Tensor, State, list[dict[str, Tensor]]]:
        """The loss of a segment, the state after it, and the gradients of the rows' own weights."""
        total, following = self._loss(x, labels, self._with_weights(reading, own))
        leaves = [weight for weights in own for weight in weights.values()]
        with torch.autocast(x.device.type, enabled=False):
            given = torch.autograd.grad(
                total, leaves, allow_unused=True, retain_graph=True, create_graph=self.through_updates
            )
        gradients = iter(given)
        found = [
            {
                name: torch.zeros_like(weight) if (gradient := next(gradients)) is None else gradient
                for name, weight in weights.items()
            }
            for weights in own
        ]
        return total, following, found

    def _loss(self, x: Tensor, labels: Tensor, state: State) -> tuple[Tensor, State]:
        # Second derivatives are not compiled.
        outputs, following = self.reader.read(x, state, plain=self.through_updates)
        return loss_sum(outputs, labels, self.reader.objective), following

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
        """What a segment is read from, and weights of its own, whose gradient looks back no further."""
        own: list[dict[str, Tensor]] = []
        for level in self.levels:
            part = get(state, level.path)
            own.append({name: weight.view_as(weight) for name, weight in part["weights"].items()})
            # Only what reading needs: the rest changes from segment to segment, and is no part of a graph.
            state = put(state, level.path, {key: value for key, value in part.items() if key == "layer"})
        return state, own

    def _with_weights(self, reading: State, own: list[dict[str, Tensor]]) -> State:
        for level, weights in zip(self.levels, own, strict=True):
            reading = put(reading, level.path, {**get(reading, level.path), "weights": weights})
        return reading

    def _learned(self, before: State, state: State, rows: Iterator[Tensor], tokens: int) -> State:
        """The state after gathering a segment's gradients, with the updates that fall at its end."""
        for level in self.levels:
            part = {**get(before, level.path), **get(state, level.path)}
            gathered = {name: sums + next(rows) for name, sums in part["gathered"].items()}
            read = tokens_read(part) + tokens
            if read == level.layer.period and _is_reset(level, state):
                assert level.parent is not None
                part = {**part, **level.layer.start_at(get(state, level.parent)["weights"])}
                gathered, read = part["gathered"], 0
            elif read == level.layer.period:
                part = self._updated(level.layer, part, gathered)
                gathered = {name: torch.zeros_like(sums).detach() for name, sums in gathered.items()}
                read = 0
            state = put(
                state, level.path, {**part, "gathered": gathered, "read": torch.full_like(part["read"], read)}
            )
        return state

    def _updated(self, layer: Plastic, part: State, gathered: dict[str, Tensor]) -> State:
        keeps = self.through_updates and layer.gradient != STOP
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
    """Whether a level at the end of its period starts again, from a parent that has just moved [Nested
    Learning, Eq. 72]."""
    return (
        level.layer.reset is Reset.PARENT
        and level.parent is not None
        and tokens_read(get(state, level.parent)) == 0
    )
