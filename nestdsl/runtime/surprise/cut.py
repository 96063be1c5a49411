"""Learning at no extra pass, where states are cut at segment ends.

The loss of a segment leads back no further than its start. So one backward pass gives both what
moves the rows' own weights and the gradients of the outer levels, and its memory is freed before
the next segment: a sequence costs the memory of one segment and of its states, however long it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nestdsl.runtime.block import CompiledRun, State
from nestdsl.runtime.carried import begun, cut
from nestdsl.runtime.surprise.gathered import with_gradients
from nestdsl.runtime.surprise.levels import (
    Path,
    PlasticLevel,
    get,
    loss_sum,
    put,
    segments,
    target_count,
)
from nestdsl.runtime.surprise.rooms import in_rooms, out_of_rooms
from nestdsl.runtime.surprise.rows import Rows

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule


def cut_loss(
    model: NestModule,
    inputs: Tensor,
    targets: Tensor,
    levels: list[PlasticLevel],
    state: State,
    *,
    goes_on: bool,
) -> tuple[Tensor, State]:
    """The mean loss of sequences whose levels learn on the way; its gradient is that of the outer levels.

    inputs and targets as in `NestModule.loss`. Gives the state after them as well, whole if a stream
    `goes_on` from it.
    """
    asked = torch.is_grad_enabled()
    outer = {
        weight: torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
        for weight in model.parameters()
        if weight.requires_grad and asked
    }
    batch, tokens = inputs.shape[:2]
    lengths = segments(levels, state, tokens)
    learner = CutLearner(model, levels, state, batch, None if goes_on else tokens, outer)
    state = in_rooms(model, learner.begin(state), tokens)
    totals: list[Tensor] = []
    for x, labels in zip(inputs.split(lengths, 1), targets.split(lengths, 1), strict=True):
        state, total = learner.segment(x, labels, state)
        totals.append(total)
    learned = learner.states() if goes_on else []
    state = out_of_rooms(model, state) if goes_on else state
    learner.end()
    for level, part in zip(levels, learned, strict=False):
        state = put(state, level.path, {**get(state, level.path), **part})
    count = target_count(targets)
    loss = torch.stack(totals).sum() / count
    if not outer:
        return loss, state
    for gradient in outer.values():
        gradient.div_(count)
    return with_gradients(loss, outer), state


class CutLearner:
    """Reads segments and lets the rows' weights learn from them.

    state: that before the first segment, which is left as it is. tokens: how many are to come in
    all, None if nobody knows. outer: where to add the gradients of the outer levels' weights.
    """

    def __init__(
        self,
        model: NestModule,
        levels: list[PlasticLevel],
        state: State,
        batch: int,
        tokens: int | None,
        outer: dict[nn.Parameter, Tensor],
    ) -> None:
        self.model = model
        self.levels = levels
        by_path: dict[Path, Rows] = {}
        for level in levels:
            parent = None if level.parent is None else by_path[level.parent]
            part = get(state, level.path)
            by_path[level.path] = Rows(level.layer, part, batch, tokens, outer, parent)
        self.rows = list(by_path.values())
        own = {weight for level in levels for weight in level.layer.parameters()}
        self.outer = {weight: sums for weight, sums in outer.items() if weight not in own}
        self.run = model.steady_run()
        # What a memory or a weight learns is not rounded, nor is a backward pass.
        self.device = next(model.parameters()).device.type
        self.differentiable = isinstance(self.run, CompiledRun)

    def begin(self, state: State) -> State:
        """The state at the start of a context, as `segment` takes it."""
        with torch.enable_grad():
            return begun(state, differentiable=self.differentiable)  # type: ignore[no-any-return]

    def segment(self, x: Tensor, labels: Tensor, state: State) -> tuple[State, Tensor]:
        """One segment: the state after it, but for what rows have learned, and the sum of its losses."""
        with torch.enable_grad():
            leaves: list[dict[str, Tensor]] = []
            for level, rows in zip(self.levels, self.rows, strict=True):
                reading, asked = rows.leaves(x, get(state, level.path))
                leaves.append(asked)
                state = put(state, level.path, reading)
            outputs, following = self.run.block(self.model, x, state)
            total = loss_sum(outputs, labels, self.model.plan.train.objective)
            flat = [leaf for asked in leaves for leaf in asked.values()]
            with torch.autocast(self.device, enabled=False):
                found = torch.autograd.grad(total, [*flat, *self.outer], allow_unused=True)
        with torch.no_grad(), torch.autocast(self.device, enabled=False):
            for sums, gradient in zip(self.outer.values(), found[len(flat) :], strict=True):
                if gradient is not None:
                    sums.add_(gradient)
            gradients = iter(found)
            for level, rows, asked in zip(self.levels, self.rows, leaves, strict=True):
                own = {name: grad for name in asked if (grad := next(gradients)) is not None}
                part = get(following, level.path)
                rows.learn(part.get("inputs", {}), own, x.shape[1])
                following = put(following, level.path, {k: v for k, v in part.items() if k == "layer"})
            return cut(following, differentiable=self.differentiable), total.detach()

    def end(self) -> None:
        """Adds what is still gathered to the gradients of the outer levels."""
        with torch.no_grad(), torch.autocast(self.device, enabled=False):
            for rows in self.rows:
                rows.end()

    def states(self) -> list[State]:
        """What the rows of each level have learned, as part of a state."""
        with torch.no_grad(), torch.autocast(self.device, enabled=False):
            return [rows.state() for rows in self.rows]
