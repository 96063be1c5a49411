"""How much an optimizer keeps for each weight: its memories, what gathers, and results kept for later."""

from __future__ import annotations

from nestdsl.graph.optimizer import WEIGHT, GradientMemory, Line, OptimizerProgram
from nestdsl.library.types import Shapes


def kept_lines(program: OptimizerProgram) -> tuple[Line, ...]:
    """The lines of a longer period whose results faster lines read: they are kept until they change."""
    faster = {
        operand
        for line in program.lines
        for operand in line.operands
        if line.period == 1 or line.function == "learn"
    }
    faster.add(program.update)
    return tuple(
        line
        for line in program.lines
        if line.period > 1 and line.function not in ("learn", "bias") and line.result in faster
    )


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
    size = 1
    for extent in shape:
        size *= extent
    kept = sum(_of_shape(line.shape, shape, size) for line in kept_lines(program))
    return kept + sum(_of_memory(memory, shape, size) for memory in program.memories)


def _of_memory(memory: GradientMemory, shape: tuple[int, ...], size: int) -> int:
    match memory.kind:
        case "associative":
            hidden = dict(memory.options)["hidden"]
            assert isinstance(hidden, int)
            stacked = size // (_rows(shape) * shape[-1])
            state = 2 * hidden * shape[-1] * stacked
        case _:
            state = size
    return state + size * _gathered(memory)


def _gathered(memory: GradientMemory) -> int:
    if memory.period == 1:
        return 0
    return 2 if memory.kind in ("matrix", "associative") else 1


def _of_shape(shape: str, weight: tuple[int, ...], size: int) -> int:
    if shape == WEIGHT:
        return size
    rows, _, columns = shape.partition(" × ")
    if not columns:
        return 1
    extents = {"out": _rows(weight), "in": weight[-1], "1": 1}
    return extents[rows] * extents[columns] * (size // (_rows(weight) * weight[-1]))


def _rows(shape: tuple[int, ...]) -> int:
    return shape[-2] if len(shape) > 1 else 1
