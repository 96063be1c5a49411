"""Under a transform of `torch.func`, which differentiates what is written as a function: the graph of the
whole sequence is kept, and states are cut where they would be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from nestdsl.diagnostics import fail
from nestdsl.runtime.learning.learner import Learner
from nestdsl.runtime.learning.reader import Reader
from nestdsl.runtime.learning.whole import read_all
from nestdsl.runtime.state import State, cut, get, put


def functional_loss(
    reader: Reader, inputs: Tensor, targets: Tensor, state: State, goes_on: bool
) -> tuple[Tensor, State]:
    """The mean loss and the state after the sequences; arguments as in `training_loss`.

    Raises NestError N0501 for a model with a state that goes back a bounded number of segments.
    """
    if not reader.reach.is_cut and not reader.reach.is_whole:
        raise fail(
            "N0501",
            "torch.func cannot differentiate a loss that looks back a bounded number of segments",
            "write `gradient through` or `truncated(1)`, or use `loss(...).backward()`",
        )
    return read_all(_FunctionalLearner(reader), inputs, targets, state)


class _FunctionalLearner(Learner):
    """Differentiates segments by `torch.func.vjp`."""

    def __init__(self, reader: Reader) -> None:
        updates = not reader.reach.is_cut and any(reader.reach.updates.values())
        super().__init__(reader, through_updates=updates)

    def segment(self, x: Tensor, labels: Tensor, state: State) -> tuple[State, Tensor]:
        following, total = super().segment(x, labels, state)
        if not self.reader.reach.is_cut:
            return following, total
        after = cut(following, differentiable=False)
        for level in self.levels:  # whose weights hang on their start through what updates have added
            own, part = get(following, level.path), get(after, level.path)
            kept = {name: part[name] for name in part if name == "layer"}
            after = put(after, level.path, {**own, **kept})
        return after, total

    def _differentiated(
        self, x: Tensor, labels: Tensor, reading: State, own: list[dict[str, Tensor]]
    ) -> tuple[Tensor, State, list[dict[str, Tensor]]]:
        def loss(own: list[dict[str, Tensor]]) -> Any:
            return self._loss(x, labels, self._with_weights(reading, own))

        total, pull, following = torch.func.vjp(loss, own, has_aux=True)  # type: ignore[misc]
        (found,) = pull(torch.ones_like(total))
        return total, following, found if self.through_updates else tree_map(Tensor.detach, found)
