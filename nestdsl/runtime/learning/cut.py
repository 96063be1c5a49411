"""Learning at no extra pass, where states are cut at segment ends.

The loss of a segment leads back no further than its start. So one backward pass gives both what
moves the rows' own weights and the gradients of the outer levels, and its memory is freed before
the next segment: a sequence costs the memory of one segment and of its states, however long it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nestdsl.runtime.learning.injected_gradients import with_gradients
from nestdsl.runtime.learning.kv_buffers import in_buffers, out_of_buffers
from nestdsl.runtime.learning.levels import loss_sum, segments, target_count
from nestdsl.runtime.learning.reader import Reader
from nestdsl.runtime.learning.rows import Rows
from nestdsl.runtime.learning.sharded import whole_weights
from nestdsl.runtime.state import Path, State, cut, get, put, separate, with_starts


def cut_loss(
    reader: Reader, inputs: Tensor, targets: Tensor, state: State, goes_on: bool
) -> tuple[Tensor, State]:
    """The mean loss and the state after the sequences; arguments as in `training_loss`."""
    batch, tokens = inputs.shape[:2]
    lengths = segments(reader.levels, state, tokens)
    learner = CutLearner(reader, state, batch, None if goes_on else tokens, outer=torch.is_grad_enabled())
    outer = learner.outer
    state = in_buffers(reader.block, learner.begin(state), tokens)
    totals: list[Tensor] = []
    for x, labels in zip(inputs.split(lengths, 1), targets.split(lengths, 1), strict=True):
        state, total = learner.segment(x, labels, state)
        totals.append(total)
    learned = learner.states() if goes_on else []
    state = out_of_buffers(reader.block, state) if goes_on else state
    learner.end()
    for level, part in zip(reader.levels, learned, strict=False):
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
    all, None if nobody knows. outer: whether the gradients of the outer levels' weights are gathered too.
    """

    def __init__(
        self,
        reader: Reader,
        state: State,
        batch: int,
        tokens: int | None,
        *,
        outer: bool,
    ) -> None:
        self.reader = reader
        self.levels = reader.levels
        starts = {weight for level in self.levels for weight in level.layer.layer.parameters()}
        whole = whole_weights(reader.block, starts)
        self.outer: dict[nn.Parameter, Tensor] = {}
        """The gradients of the outer levels' weights, as sums over the tokens so far."""
        for weight in reader.outer_weights() if outer else ():
            kind = torch.promote_types(weight.dtype, torch.float32)
            self.outer[whole.handle(weight)] = torch.zeros_like(whole.handle(weight), dtype=kind)
        by_path: dict[Path, Rows] = {}
        for level in self.levels:
            parent = None if level.parent is None else by_path[level.parent]
            part = get(state, level.path)
            by_path[level.path] = Rows(level.layer, part, batch, tokens, self.outer, whole, parent)
        self.rows = list(by_path.values())
        own = {whole.handle(weight) for level in self.levels for weight in level.layer.parameters()}
        self.asked = [weight for weight in self.outer if weight not in own]
        """Those of them whose gradients a backward pass gives; of the rest `rows` makes them."""
        # What a memory or a weight learns is not rounded, nor is a backward pass.
        self.device = reader.device.type
        self.differentiable = reader.is_compiled

    def begin(self, state: State) -> State:
        """The state at the start of a context, as `segment` takes it."""
        with torch.enable_grad():
            return separate(state, differentiable=self.differentiable)  # type: ignore[no-any-return]

    def segment(self, x: Tensor, labels: Tensor, state: State) -> tuple[State, Tensor]:
        """One segment: the state after it, but for what rows have learned, and the sum of its losses."""
        with torch.enable_grad():
            leaves: list[dict[str, Tensor]] = []
            for level, rows in zip(self.levels, self.rows, strict=True):
                reading, asked = rows.leaves(x, get(state, level.path))
                leaves.append(asked)
                state = put(state, level.path, reading)
            outputs, following = self.reader.read(x, state)
            total = loss_sum(outputs, labels, self.reader.objective)
            flat = [leaf for asked in leaves for leaf in asked.values()]
            with torch.autocast(self.device, enabled=False):
                found = torch.autograd.grad(total, [*flat, *self.asked], allow_unused=True)
        with torch.no_grad(), torch.autocast(self.device, enabled=False):
            for weight, gradient in zip(self.asked, found[len(flat) :], strict=True):
                if gradient is not None:
                    self.outer[weight].add_(gradient)
            gradients = iter(found)
            for level, rows, asked in zip(self.levels, self.rows, leaves, strict=True):
                own = {name: grad for name in asked if (grad := next(gradients)) is not None}
                part = get(following, level.path)
                rows.learn(part.get("inputs", {}), own, x.shape[1])
                following = put(following, level.path, {k: v for k, v in part.items() if k == "layer"})
            return cut(with_starts(following, state), differentiable=self.differentiable), total.detach()

    def end(self) -> None:
        """Adds what is still gathered to the gradients of the outer levels."""
        with torch.no_grad(), torch.autocast(self.device, enabled=False):
            for rows in self.rows:
                rows.end()

    def states(self) -> list[State]:
        """What the rows of each level have learned, as part of a state."""
        with torch.no_grad(), torch.autocast(self.device, enabled=False):
            return [rows.state() for rows in self.rows]
