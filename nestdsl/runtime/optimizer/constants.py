"""What an optimizer knows before a step: numbers from its parameters, counts and a weight's shape.

All of it is computed in double precision, as torch.optim does.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from nestdsl.graph.optimizer import Line, Operand, OptimizerProgram, Schedule
from nestdsl.graph.optimizer_timing import timing
from nestdsl.vocabulary.shapes import CONSTANT, WEIGHT, MatrixShape, Shape
from nestdsl.vocabulary.signatures import LIBRARY, Value
from nestdsl.vocabulary.timing import ReadTime

Numbers = dict[str, float]


def parameters_at(
    programs: tuple[OptimizerProgram, ...],
    given: Mapping[str, float],
    step_count: int,
    run_steps: int | None = None,
) -> Numbers:
    """The parameters of the last program of a chain at an update of the weight.

    `given` replaces parameters of the first one, and their schedules. run_steps: how many updates the
    whole run has. Raises ValueError if a schedule needs that and it is None.
    """
    numbers = _parameters(programs[0], given, step_count, run_steps)
    for outer, inner in pairwise(programs):
        known = known_numbers(outer, numbers, step_count, (1, 1))
        arguments = {name: _value(operand, known) for name, operand in outer.otherwise_arguments}
        numbers = _parameters(inner, arguments, step_count, run_steps)
    return numbers


def _parameters(
    program: OptimizerProgram, given: Mapping[str, float], step_count: int, run_steps: int | None
) -> Numbers:
    numbers = {
        name: float(value)
        for name, value in program.parameters
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    for schedule in program.schedules:
        if schedule.parameter not in given:
            numbers[schedule.parameter] = scheduled(schedule, step_count, run_steps)
    return numbers | dict(given)


def needs_run_steps(program: OptimizerProgram) -> str | None:
    """The first parameter whose schedule ends with the run, if there is one."""
    for schedule in program.schedules:
        if schedule.shape != "constant" and not schedule.steps:
            return schedule.parameter
    return None if program.otherwise is None else needs_run_steps(program.otherwise)


def scheduled(schedule: Schedule, step_count: int, run_steps: int | None = None) -> float:
    """The value of a scheduled parameter at update number `step_count`, from 1 on.

    >>> falling = Schedule("lr", "linear", peak=1.0, warmup=2, steps=4)
    >>> [scheduled(falling, step) for step in range(1, 7)]
    [0.5, 1.0, 0.5, 0.0, 0.0, 0.0]
    """
    if step_count < schedule.warmup:
        return schedule.peak * step_count / schedule.warmup
    if schedule.shape == "constant":
        return schedule.peak
    steps = schedule.steps or run_steps
    if steps is None:
        raise ValueError(f"the schedule of `{schedule.parameter}` ends with the run, whose steps nobody said")
    progress = min(1.0, (step_count - schedule.warmup) / max(1, steps - schedule.warmup))
    left = 1 - progress if schedule.shape == "linear" else (1 + math.cos(math.pi * progress)) / 2
    return schedule.peak * (schedule.floor + (1 - schedule.floor) * left)


def known_numbers(
    program: OptimizerProgram, parameters: Numbers, step_count: int, extents: tuple[int, int]
) -> Numbers:
    """All that is known before update number `step_count` of a weight of `extents` rows and columns."""
    known = timing(program).known
    shapes = {line.result: line.shape for line in program.lines}
    memories = {memory.name: memory for memory in program.memories}
    numbers = {**parameters, "step_count": float(step_count)}
    for line in program.lines:
        if line.result not in known or line.function == "learn":
            continue
        match line.function:
            case "bias":
                memory = memories[str(dict(line.options)["memory"])]
                updates = (step_count - (memory.read is ReadTime.BEFORE)) // memory.period
                decay = _value(line.operands[0], numbers)
                numbers[line.result] = 1 - decay**updates if updates else 1.0
            case "rows" | "columns":
                numbers[line.result] = _extent(line, shapes, extents)
            case _:
                operands = [_value(operand, numbers) for operand in line.operands]
                numbers[line.result] = computed(line.function, *operands, **dict(line.options))
    return numbers


def _value(operand: Operand, numbers: Numbers) -> float:
    return numbers[operand] if isinstance(operand, str) else float(operand)


def _extent(line: Line, shapes: Mapping[str, Shape], extents: tuple[int, int]) -> float:
    """The rows or columns of a line's operand."""
    operand = line.operands[0]
    shape = shapes.get(operand, WEIGHT) if isinstance(operand, str) else CONSTANT
    if not isinstance(shape, MatrixShape):
        return 1.0
    sizes = {"out": extents[0], "in": extents[1], "1": 1}
    return float(sizes[shape.rows if line.function == "rows" else shape.columns])


def computed(function: str, *operands: float, **options: Value) -> float:
    """A function of numbers; where it has no value it is not finite, as for tensors."""
    try:
        return float(_of_numbers(function)(*operands, **options))
    except OverflowError:
        return math.inf
    except ZeroDivisionError:
        return math.nan if not operands[0] else math.copysign(math.inf, operands[0])
    except (ValueError, TypeError):  # √-1; -1 ** 0.5 is complex
        return math.nan


_ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "debias": operator.truediv,
    "power": operator.pow,
    "negate": operator.neg,
}


def _of_numbers(function: str) -> Callable[..., Any]:
    fold = _ARITHMETIC.get(function) or LIBRARY.functions[function].fold
    assert fold is not None, f"`{function}` of numbers has no value"
    return fold
