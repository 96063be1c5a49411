"""Four ways to compute one loss: which of them is taken depends on how far back the outer levels look.

A sequence is read in segments as long as the shortest period [Nested Learning, Eq. 71]. The gradient of a
segment's loss moves the weights of each row; what differs is how much of the graph the outer levels need
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nestdsl.plan.reach import Reach
from nestdsl.runtime.learning.cut import cut_loss
from nestdsl.runtime.learning.functional import functional_loss
from nestdsl.runtime.learning.reader import Reader
from nestdsl.runtime.learning.whole import through_loss, whole_loss
from nestdsl.runtime.learning.window import window_loss
from nestdsl.runtime.ops.operator import is_transformed
from nestdsl.runtime.state import State

Loss = Callable[[Reader, Tensor, Tensor, State, bool], tuple[Tensor, State]]


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to compute the loss, and when it is the one to take."""

    name: str
    why: str
    loss: Loss


CUT = Strategy("cut", "nothing goes back beyond its own segment", cut_loss)
WINDOW = Strategy("window", "some state goes back a number of segments, and no further", window_loss)
THROUGH = Strategy("through", "the outer levels differentiate through the updates", through_loss)
WHOLE = Strategy("whole", "states go back to the start of the context, updates are constant", whole_loss)
FUNCTIONAL = Strategy("functional", "a transform of torch.func differentiates", functional_loss)
STRATEGIES = (CUT, WINDOW, THROUGH, WHOLE, FUNCTIONAL)


def strategy_for(reach: Reach) -> Strategy:
    """The strategy of a model whose `gradient` clauses say this."""
    if reach.is_cut:
        return CUT
    if not reach.is_whole:
        return WINDOW
    return THROUGH if any(reach.updates.values()) else WHOLE


def training_loss(
    reader: Reader, inputs: Tensor, targets: Tensor, state: State, *, goes_on: bool = False
) -> tuple[Tensor, State]:
    """The mean loss of sequences whose levels learn on the way; its gradient is that of the outer levels.

    inputs and targets as in `NestModule.loss`, from a state without a graph. Gives the state after
    them as well, whole if a stream `goes_on` from it.
    """
    strategy = strategy_for(reader.reach)
    if is_transformed():
        strategy = FUNCTIONAL
    elif not torch.is_grad_enabled():
        strategy = CUT  # the least memory, and no gradient is asked for
    return strategy.loss(reader, inputs, targets, state, goes_on)
