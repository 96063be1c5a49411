"""How much an optimizer keeps for each weight: its memories, what gathers, and results kept for later."""

from __future__ import annotations

from collections import Counter, deque
from math import prod

from nestdsl.graph.optimizer import GradientMemory, OptimizerProgram, chain
from nestdsl.graph.optimizer_levels import levels_of
from nestdsl.graph.optimizer_slots import gathered_names, kept_names, slots, state_names
from nestdsl.vocabulary.arguments import Shapes


def state_numbers(program: OptimizerProgram | None, shapes: Shapes, matrices: bool) -> int:
    """How many numbers an optimizer keeps in all for weights of these shapes."""
    return sum(numbers_by_level(program, shapes, matrices).values())


def numbers_by_level(
    program: OptimizerProgram | None, shapes: Shapes, matrices: bool
) -> dict[tuple[OptimizerProgram, str], int]:
    """How many numbers each level inside an optimizer keeps for weights of these shapes.

    `matrices` says whether the 2-D weights among them are matrices of a hidden level. A result that is
    kept counts for the level that it is, or else for the first that it is made of.
    """
    found: Counter[tuple[OptimizerProgram, str]] = Counter()
    if program is None:
        return {}
    for _, shape in shapes:
        driving = chain(program, is_matrix=matrices and len(shape) == 2)[-1]
        for slot in slots(driving):
            numbers = prod(shape[:-2]) * prod(slot.extents(shape))
            found[driving, _level_of(driving, slot.name)] += numbers
    return dict(found)


def _level_of(program: OptimizerProgram, slot: str) -> str:
    """The level that keeps a slot."""
    holders: dict[str, str] = {}
    for name, level in levels_of(program).items():
        is_memory = isinstance(level, GradientMemory)
        kept = (*state_names(level), *gathered_names(level)) if is_memory else (level.result,)
        holders |= dict.fromkeys((name, *kept), name)
    lines = {line.result: line for line in program.lines if line.function != "learn"}
    results = {name: result for result, name in kept_names(program).items()}
    start = results.get(slot, slot)
    waiting = deque([start])
    seen = {start}
    while waiting:
        one = waiting.popleft()
        if one in holders:
            return holders[one]
        for operand in lines[one].operands:
            if isinstance(operand, str) and operand not in seen and (operand in lines or operand in holders):
                seen.add(operand)
                waiting.append(operand)
    raise ValueError(f"{slot} is kept, and made of no level")
