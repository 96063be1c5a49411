"""How much an optimizer keeps for each weight: its memories, what gathers, and results kept for later."""

from __future__ import annotations

import math

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.graph.optimizer_slots import slots
from nestdsl.library.types import Shapes


def state_numbers(program: OptimizerProgram | None, shapes: Shapes, matrices: bool) -> int:
    """How many numbers an optimizer keeps for weights of these shapes.

    `matrices` says whether the 2-D weights among them are matrices of a hidden level.
    """
    total = 0
    for _, shape in shapes:
        driving = program
        while driving is not None and driving.otherwise is not None and not (matrices and len(shape) == 2):
            driving = driving.otherwise
        if driving is not None:
            total += _of_weight(driving, shape)
    return total


def _of_weight(program: OptimizerProgram, shape: tuple[int, ...]) -> int:
    matrices = math.prod(shape[:-2])
    return matrices * sum(math.prod(slot.extents(shape)) for slot in slots(program))
