"""Optimizers of levels that learn from surprise in context.

Each sequence has its own weights and its own optimizer memories, so all tensors have the batch
in front: [batch, *shape]. Programs of the language run as `optimizer/naive.py` says; `gd` is built in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nestdsl.graph.optimizer import OptimizerProgram, chain
from nestdsl.runtime.optimizer import naive
from nestdsl.runtime.optimizer.constants import parameters_at
from nestdsl.runtime.optimizer.memories import STEP_COUNT
from nestdsl.runtime.optimizer.precision import with_precision
from nestdsl.vocabulary.functions import AUTO

Memory = dict[str, Any]
"""What is remembered of one weight: tensors [batch, ...], and how often it has moved [batch], on the CPU."""


@dataclass(frozen=True, slots=True)
class ContextOptimizer:
    """What moves the rows of a level: `gd` with its `arguments`, or a program.

    matrices: whether the 2-D weights of the level are matrices, as `only matrices` means them. precision:
    of products where the program leaves it to the machine.
    """

    arguments: Mapping[str, float | str]
    program: OptimizerProgram | None = None
    matrices: bool = True
    precision: str = AUTO

    @property
    def is_plain_descent(self) -> bool:
        """Whether an update is -step times the gradient and no more."""
        return self.program is None and float(self.arguments["retain"]) == 1

    def initial_memory(self, weight: Tensor) -> Memory:
        """What is remembered of a weight [batch, *shape] before its first update.

        That may be the weight itself, with its graph.
        """
        if self.program is None:
            return {"start": weight} if self.arguments.get("toward") == "init" else {}
        memory = naive.initial_memory(self._programs(weight)[-1], weight, batch=1)
        return {**memory, STEP_COUNT: torch.zeros(len(weight), dtype=torch.int64)}

    def change(self, gradient: Tensor, memory: Memory, weight: Tensor) -> tuple[Tensor, Memory]:
        """By what a weight [batch, *shape] changes along its gradient, and the next memory."""
        if self.program is None:
            return self._descended(gradient, memory, weight), memory
        programs = self._programs(weight)
        steps = memory[STEP_COUNT]
        taken = int(steps[0])  # the same for all rows, which `groups.py` sees to
        parameters = parameters_at(programs, {}, taken + 1)
        own = {**memory, STEP_COUNT: taken}
        change, following = naive.apply(programs[-1], parameters, gradient, own, weight, batch=1)
        return change, {**following, STEP_COUNT: steps + 1}

    def move(self, gathered: Tensor, divisor: int, memory: Memory, weight: Tensor) -> Memory:
        """One update in place, along gathered / divisor: changes the weight and perhaps `gathered`.

        Gives the next memory.
        """
        if self.program is None:
            retain = float(self.arguments["retain"])
            if retain != 1:
                weight.mul_(retain)
                if "start" in memory:
                    weight.add_(memory["start"], alpha=1 - retain)
            weight.add_(gathered, alpha=-float(self.arguments["step"]) / divisor)
            return memory
        change, memory = self.change(gathered.div_(divisor), memory, weight)
        weight.add_(change)
        return memory

    def _programs(self, weight: Tensor) -> tuple[OptimizerProgram, ...]:
        assert self.program is not None
        *before, own = chain(self.program, is_matrix=self.matrices and weight.ndim == 3)
        return (*before, with_precision(own, self.precision))

    def _descended(self, gradient: Tensor, memory: Memory, weight: Tensor) -> Tensor:
        """W = retain W - step gradient; what is let go may return to the start: + (1 - retain) start."""
        retain, step = float(self.arguments["retain"]), float(self.arguments["step"])
        kept = weight - memory["start"] if "start" in memory else weight
        return (retain - 1) * kept - step * gradient
