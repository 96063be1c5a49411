"""The graph of the whole sequence is kept: states go back to the start of the context.

WHOLE: the outer levels differentiate through the states of memories, not through the updates. THROUGH: also
through the updates, which takes second derivatives.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nestdsl.runtime.learning.learner import Learner
from nestdsl.runtime.learning.levels import segments, target_count
from nestdsl.runtime.learning.reader import Reader
from nestdsl.runtime.state import State


def whole_loss(
    reader: Reader, inputs: Tensor, targets: Tensor, state: State, goes_on: bool
) -> tuple[Tensor, State]:
    """The mean loss, with its graph, and the state after the sequences; arguments as in `training_loss`."""
    return read_all(Learner(reader, through_updates=False), inputs, targets, state)


def through_loss(
    reader: Reader, inputs: Tensor, targets: Tensor, state: State, goes_on: bool
) -> tuple[Tensor, State]:
    """The same, whose graph goes through the updates."""
    return read_all(Learner(reader, through_updates=True), inputs, targets, state)


def read_all(learner: Learner, inputs: Tensor, targets: Tensor, state: State) -> tuple[Tensor, State]:
    """Segment after segment, each of which moves the weights with which the next is read."""
    state = learner.resumed(state)
    lengths = segments(learner.reader.levels, state, inputs.shape[1])
    totals: list[Tensor] = []
    for x, labels in zip(inputs.split(lengths, 1), targets.split(lengths, 1), strict=True):
        state, total = learner.segment(x, labels, state)
        totals.append(total)
    return torch.stack(totals).sum() / target_count(targets), state
