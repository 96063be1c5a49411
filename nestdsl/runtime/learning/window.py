"""Outer gradients of sequences whose graph is truncated: the loss of each segment looks back for itself.

Each segment has a graph of its own, from the state before it (leaves) to the state after it and its loss. A
segment's loss is differentiated through the segment, then through the one before, and so on; between two
segments each part of the state lets through what `reach` says, as seen from that loss. Graphs that no later
loss looks back to are freed. What has no bound is the same for all losses far enough behind, and is taken
back once, all losses together, after the last segment.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nestdsl.plan.reach import Path, Reach
from nestdsl.runtime.learning.injected_gradients import with_gradients
from nestdsl.runtime.learning.learner import Learner
from nestdsl.runtime.learning.levels import segments, target_count, tokens_read
from nestdsl.runtime.learning.reader import Reader
from nestdsl.runtime.state import State, get
from nestdsl.vocabulary.timing import Reset

Parts = dict[Path, Tensor]
"""Tensors of a state, or their gradients, by where they stand in it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The graph of one segment: the state before it, its loss, the state after it.

    updated: the levels that its end has updated. reset: of these, with their parents, those that have taken
    the weights of a parent that moved.
    """

    number: int
    before: Parts
    total: Tensor
    after: Parts
    updated: frozenset[Path]
    reset: Mapping[Path, Path]


def window_loss(
    reader: Reader, inputs: Tensor, targets: Tensor, state: State, goes_on: bool
) -> tuple[Tensor, State]:
    """The mean loss and the state after the sequences; arguments as in `training_loss`."""
    learner = Learner(reader, through_updates=any(reader.reach.updates.values()))
    state = learner.resumed(state)
    window = Window(learner, reader.reach, reader.outer_weights(), state, inputs.shape[0])
    lengths = segments(learner.levels, state, inputs.shape[1])
    totals = [
        window.read(x, labels)
        for x, labels in zip(inputs.split(lengths, 1), targets.split(lengths, 1), strict=True)
    ]
    count = target_count(targets)
    gradients = {weight: gradient / count for weight, gradient in window.finish().items()}
    return with_gradients(torch.stack(totals).sum() / count, gradients), window.state


class Window:
    """Reads segments, and gathers the gradients of `wanted` weights."""

    def __init__(
        self, learner: Learner, reach: Reach, wanted: list[nn.Parameter], state: State, batch: int
    ) -> None:
        self.learner = learner
        self.reach = reach
        self.wanted = wanted
        self.outer: dict[nn.Parameter, Tensor] = {}
        self._parents = {
            level.path: level.parent
            for level in learner.levels
            if level.parent is not None and level.layer.reset is Reset.PARENT
        }
        self._started = learner.started(state, batch)
        self.state = self._started
        """As it stands, with the graph of the last segment, or of the start."""
        self._first: Parts = {}
        """The gradients of the state at the start of the context."""
        self._pending: dict[int, Parts] = {}
        """By segment, those of the state before it, from losses for which all bounds are too short."""
        self._is_bounded = reach.others < math.inf
        self._segments: deque[Segment] = deque(maxlen=reach.window if self._is_bounded else None)
        self._count = 0

    def read(self, x: Tensor, labels: Tensor) -> Tensor:
        """Reads one segment, and differentiates its loss; gives the sum of its losses, without a graph."""
        before: Parts = {}

        def leaf(path: Path, part: Tensor) -> Tensor:
            if not part.requires_grad and self._level(path)[1] != "weights":
                return part
            before[path] = part.detach().requires_grad_()
            return before[path]

        after, total = self.learner.segment(x, labels, self._changed(self.state, leaf))
        updated = frozenset(path for path in self.reach.updates if tokens_read(get(after, path)) == 0)
        reset = {
            path: parent for path, parent in self._parents.items() if path in updated and parent in updated
        }
        self._segments.append(Segment(self._count, before, total, self._parts(after), updated, reset))
        self.state = after
        self._look_back()
        self._count += 1
        return total.detach()

    def finish(self) -> dict[nn.Parameter, Tensor]:
        """The gradients of the sum of all losses read, for all weights that have one."""
        carried: Parts = {}
        for segment in reversed(self._segments):
            _add(carried, self._pending.pop(segment.number + 1, {}))
            counts = {path: many if many < math.inf else 0 for path, many in self.reach.updates.items()}
            carried = self._back(segment, carried, self.reach.window, counts)
        self._segments.clear()
        starts = self._parts(self._started)
        outputs = [path for path in self._first if starts[path].requires_grad]
        self._differentiate([starts[path] for path in outputs], [self._first[path] for path in outputs], [])
        return self.outer

    def _look_back(self) -> None:
        """Differentiates the loss of the last segment read through all that its window holds."""
        counts: dict[Path, float] = dict.fromkeys(self.reach.updates, 0)
        last, *earlier = reversed(list(self._segments)[-self.reach.window :])
        found = self._differentiate([last.total], [None], list(last.before.values()))
        carried = self._arrived(last, _present(last.before, found))
        for back, segment in enumerate(earlier):
            if not carried:
                return
            carried = self._back(segment, carried, back, counts)
        if self._is_bounded:
            # All bounds end here: what is left of weights is their start.
            _add(self._first, {path: part for path, part in carried.items() if self._is_start(path)})
        elif carried:
            number = earlier[-1].number if earlier else last.number
            _add(self._pending.setdefault(number, {}), carried)

    def _back(self, segment: Segment, found: Parts, back: int, counts: dict[Path, float]) -> Parts:
        """The gradients of the state before a segment, from those of the state after it.

        back: how many segments lie between it and the one whose loss is differentiated. counts: how many
        updates of each level lie behind; those at the segment's end are added.
        """
        passed: Parts = {}
        held: Parts = {}
        for path, part in found.items():
            level, own = self._level(path)
            while level in segment.reset and self._is_start(path):
                path = (*segment.reset[level], "weights", path[len(level) + 1])
                level, own = segment.reset[level], "weights"
            if own == "layer":
                goes_on = back + 1 < self.reach.segments(path)
            else:  # what is gathered belongs to an update that was let through
                goes_on = own == "gathered" or counts[level] < self.reach.updates[level]
            if goes_on:
                _add(passed, {path: part})
            elif self._is_start(path):
                # Earlier changes are constant: weights are their start, or what a parent gave them.
                _add(held if level in self._parents else self._first, {path: part})
        for path in segment.updated:
            counts[path] += 1
        outputs = [path for path in passed if segment.after[path].requires_grad]
        given = [passed[path] for path in outputs]
        leaves = list(segment.before.values())
        before = self._differentiate([segment.after[path] for path in outputs], given, leaves)
        _add(held, _present(segment.before, before))
        return self._arrived(segment, held)

    def _arrived(self, segment: Segment, found: Parts) -> Parts:
        """The gradients of the state before a segment, but for those of the start of the context."""
        if segment.number > 0:
            return found
        _add(self._first, found)
        return {}

    def _level(self, path: Path) -> tuple[Path, str]:
        """The level that learns from surprise to which a part belongs, and what it is there: weights,
        memories, gathered, or of a layer, as all that belongs to none."""
        for level in self.reach.updates:
            if path[: len(level)] == level:
                return level, str(path[len(level)])
        return (), "layer"

    def _is_start(self, path: Path) -> bool:
        """Whether a part is a weight, or the start to which weights return: no update alone has made it."""
        own = self._level(path)[1]
        return own == "weights" or (own == "memories" and path[-1] == "start")

    def _differentiate(
        self, outputs: list[Tensor], given: list[Any], leaves: list[Tensor]
    ) -> list[Tensor | None]:
        """The gradients of leaves; those of weights are gathered."""
        asked = [*leaves, *self.wanted]
        if not outputs or not asked:
            return [None] * len(leaves)
        with torch.autocast(outputs[0].device.type, enabled=False):
            found = torch.autograd.grad(outputs, asked, given, retain_graph=True, allow_unused=True)
        for weight, gradient in zip(self.wanted, found[len(leaves) :], strict=True):
            if gradient is not None:
                gradient = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
                self.outer[weight] = self.outer[weight] + gradient if weight in self.outer else gradient
        return list(found[: len(leaves)])

    def _parts(self, state: State) -> Parts:
        """The tensors of a state that change while a sequence is read."""
        found: Parts = {}

        def note(path: Path, part: Tensor) -> Tensor:
            found[path] = part
            return part

        self._changed(state, note)
        return found

    def _changed(self, state: Any, change: Callable[[Path, Tensor], Tensor], path: Path = ()) -> Any:
        """A state with its moving parts changed. The starts to which retention lets memories return, and to
        which every segment leads back, keep their graph."""
        match state:
            case dict():
                return {name: self._changed(part, change, (*path, name)) for name, part in state.items()}
            case list():
                return [self._changed(part, change, (*path, number)) for number, part in enumerate(state)]
            case Tensor() if state.is_floating_point() and not self._is_fixed(path):
                return change(path, state)
            case _:
                return state

    def _is_fixed(self, path: Path) -> bool:
        return str(path[-1]).startswith("start") and self._level(path)[1] == "layer"


def _present(parts: Parts, found: list[Tensor | None]) -> Parts:
    return {path: grad for path, grad in zip(parts, found, strict=True) if grad is not None}


def _add(sums: Parts, more: Parts) -> None:
    for path, part in more.items():
        sums[path] = sums[path] + part if path in sums else part
