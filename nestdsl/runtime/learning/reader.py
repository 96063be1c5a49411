"""What learning from surprise needs of a model, and no more."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nestdsl.plan.reach import Reach
from nestdsl.runtime.block import Block, Pass
from nestdsl.runtime.learning.levels import PlasticLevel
from nestdsl.runtime.run import PLAIN, Run
from nestdsl.runtime.state import State


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads tokens with the body of a model; `levels` are those that learn from surprise in context.

    objective: what the loss of a token is. reach: how far back the outer levels differentiate. run: how
    passes of one length run that come again and again.
    """

    block: Block
    levels: list[PlasticLevel]
    objective: str
    reach: Reach
    run: Run

    def read(self, x: Tensor, state: State, *, plain: bool = False) -> Pass:
        """One pass from a state, which is not looked at; plain: it is not compiled."""
        if hasattr(self.block, "unshard"):  # the backward pass of the segment before has sharded its weights
            self.block.unshard()  # type: ignore[operator]
        if plain or not self.is_compiled:
            return self.block.run_by(PLAIN, x, state)
        return self.run.block(self.block, x, state)

    @property
    def is_compiled(self) -> bool:
        return self.run is not PLAIN

    def outer_weights(self) -> list[nn.Parameter]:
        """The weights that the outer levels train."""
        return [weight for weight in self.block.parameters() if weight.requires_grad]

    @property
    def device(self) -> torch.device:
        return next(self.block.parameters()).device
