"""When the lines of an optimizer change, which are known before a step, and which are kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nestdsl.graph.optimizer import GradientMemory, Line, Operand, OptimizerProgram
from nestdsl.vocabulary.shapes import CONSTANT
from nestdsl.vocabulary.timing import ReadTime

Changes = frozenset[tuple[int, int]]
"""Pairs (period, phase): what has them changes at update number t if t % period == phase for one of them."""

ALWAYS: Changes = frozenset({(1, 0)})
NEVER: Changes = frozenset()


@dataclass(frozen=True, slots=True)
class Timing:
    """`known`: results that are numbers before the step, from parameters, counts and a weight's shape.

    `changes`: of all other results and of the memories as lines read them. `kept`: results that lines read
    at updates at which they do not change; they are computed where they change, and kept until then.
    """

    known: frozenset[str]
    changes: dict[str, Changes]
    kept: tuple[Line, ...]


def is_due(changes: Changes, step_count: int) -> bool:
    """Whether something changes at this update of the weight; all is computed at the first one."""
    return step_count == 1 or any(step_count % period == phase for period, phase in changes)


@lru_cache(maxsize=256)
def timing(program: OptimizerProgram) -> Timing:
    """The timing of a program."""
    memories = {memory.name: memory for memory in program.memories}
    known, changes = _known(program), {name: _of_memory(memory) for name, memory in memories.items()}
    for line in program.lines:
        if line.function == "bias":
            changes[line.result] = changes[str(dict(line.options)["memory"])]
        elif line.function in ("rows", "columns"):
            changes[line.result] = NEVER
        elif line.function != "learn":
            changes[line.result] = _joined(line.operands, changes)
    readers: dict[str, set[Changes]] = {}
    for line in program.lines:
        operands = line.operands
        if line.function == "learn":
            operands += tuple(value for _, value in memories[line.result].arguments)
        for operand in operands:
            if isinstance(operand, str):
                # What a memory learns gathers at every update.
                reader = ALWAYS if line.function == "learn" else changes[line.result]
                readers.setdefault(operand, set()).add(reader)
    readers.setdefault(program.update, set()).add(ALWAYS)
    kept = tuple(
        line
        for line in program.lines
        if line.function != "learn"
        and line.result not in known
        and changes[line.result] != ALWAYS
        and readers.get(line.result, set()) - {changes[line.result]}
    )
    return Timing(known, changes, kept)


def _known(program: OptimizerProgram) -> frozenset[str]:
    known = {name for name, _ in program.parameters} | {"step_count"}
    known |= {schedule.parameter for schedule in program.schedules}
    # Parameters whose value another program hands on stand where they are read alone.
    of_weight = {"grad", "weight", *(line.result for line in program.lines)}
    read = [operand for line in program.lines for operand in line.operands]
    read += [value for memory in program.memories for _, value in memory.arguments]
    known |= {operand for operand in read if isinstance(operand, str)} - of_weight
    for line in program.lines:
        is_number = line.function in ("bias", "rows", "columns") or line.shape == CONSTANT
        if is_number or all(not isinstance(one, str) or one in known for one in line.operands):
            known.add(line.result)
    return frozenset(known)


def _of_memory(memory: GradientMemory) -> Changes:
    """A memory that is read as it was before its move changes, for its readers, one update later."""
    return frozenset({(memory.period, 0 if memory.read is ReadTime.AFTER else 1 % memory.period)})


def _joined(operands: tuple[Operand, ...], changes: dict[str, Changes]) -> Changes:
    """Names that are none of the program's results, such as `grad` and parameters, may change always."""
    joined = NEVER.union(*(changes.get(one, ALWAYS) for one in operands if isinstance(one, str)))
    return ALWAYS if joined >= ALWAYS else joined
