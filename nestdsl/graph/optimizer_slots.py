"""The tensors that an optimizer keeps for each weight: states, what gathers, and results kept for later."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from nestdsl.graph.optimizer import GradientMemory, OptimizerProgram
from nestdsl.graph.optimizer_text import words_of
from nestdsl.graph.optimizer_timing import timing
from nestdsl.vocabulary.shapes import WEIGHT, MatrixShape, Shape


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor that an optimizer keeps for each weight.

    shape: as lines say it, in terms of `out`, `in`, `1` and the `sizes`. It starts at zero, or `is_random`.
    """

    name: str
    shape: Shape
    sizes: tuple[tuple[str, int], ...] = ()
    is_random: bool = False

    def extents(self, weight: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns for a weight of this shape, of each of its matrices."""
        rows, columns = weight[-2] if len(weight) > 1 else 1, weight[-1] if weight else 1
        sizes = {"out": rows, "in": columns, "1": 1, **dict(self.sizes)}
        match self.shape:
            case MatrixShape(left, right):
                return sizes[left], sizes[right]
        return (1, 1)


def gathered_names(memory: GradientMemory) -> tuple[str, ...]:
    """What gathers between the moves of a memory: what it learns, or keys and values."""
    if memory.period == 1:
        return ()
    if memory.declared.learns_pairs:
        return (f"{memory.name}.gathered", f"{memory.name}.gathered_value")
    return (f"{memory.name}.gathered",)


def state_names(memory: GradientMemory) -> tuple[str, ...]:
    """The state of a memory by its names: its own, or those of its parts."""
    return tuple(f"{memory.name}.{part.name}" if part.name else memory.name for part in memory.declared.parts)


@lru_cache(maxsize=256)
def kept_names(program: OptimizerProgram) -> dict[str, str]:
    """The results that are kept for later, each with the name under which it is saved.

    That is what it is made of and not its place in the program: no other line that comes, goes or moves
    renames it, and what is made of something else is never taken for it.
    """
    names: dict[str, str] = {}
    for line in timing(program).kept:
        words = words_of(program, line.result)
        taken = sum(other.partition(" #")[0] == words for other in names.values())
        names[line.result] = f"{words} #{taken + 1}" if taken else words
    return names


def slots(program: OptimizerProgram) -> tuple[Slot, ...]:
    """All tensors that a program keeps for each weight: states, what gathers, and kept results."""
    shapes = {line.result: line.shape for line in program.lines if line.function != "learn"}
    learns = {line.result: line.operands for line in program.lines if line.function == "learn"}
    found: list[Slot] = []
    for memory in program.memories:
        sizes = tuple((name, size) for name, size in memory.options if isinstance(size, int))
        for name, part in zip(state_names(memory), memory.declared.parts, strict=True):
            found.append(Slot(name, part.shape, sizes if part.name else (), part.is_random))
        for name, operand in zip(gathered_names(memory), learns[memory.name], strict=False):
            # Numbers gather as one for each weight.
            is_number = not isinstance(operand, str) or operand in timing(program).known
            shape = MatrixShape("1", "1") if is_number else shapes.get(str(operand), WEIGHT)
            found.append(Slot(name, shape))
    names = kept_names(program)
    return (*found, *(Slot(names[line.result], line.shape) for line in timing(program).kept))
