"""The tensors that an optimizer keeps for each weight: states, what gathers, and results kept for later."""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.graph.optimizer import WEIGHT, GradientMemory, OptimizerProgram
from nestdsl.graph.optimizer_timing import timing


@dataclass(frozen=True, slots=True)
class Slot:
    """One tensor that an optimizer keeps for each weight.

    shape: as lines say it, in terms of `out`, `in`, `1` and `hidden`; `start` is `zero` or `random`.
    """

    name: str
    shape: str
    hidden: int = 0
    start: str = "zero"

    def extents(self, weight: tuple[int, ...]) -> tuple[int, int]:
        """Rows and columns for a weight of this shape, of each of its matrices."""
        rows = weight[-2] if len(weight) > 1 else 1
        sizes = {"out": rows, "in": weight[-1] if weight else 1, "1": 1, "hidden": self.hidden}
        left, _, right = ("out × in" if self.shape == WEIGHT else self.shape).partition(" × ")
        return (sizes[left], sizes[right]) if right else (1, 1)


def gathered_names(memory: GradientMemory) -> tuple[str, ...]:
    """What gathers between the moves of a memory: what it learns, or keys and values."""
    if memory.period == 1:
        return ()
    if memory.kind in ("matrix", "associative"):
        return (f"{memory.name}.gathered", f"{memory.name}.gathered_value")
    return (f"{memory.name}.gathered",)


def state_names(memory: GradientMemory) -> tuple[str, ...]:
    """The state of a memory by its names: of a network those of both matrices."""
    if memory.kind == "associative":
        return (f"{memory.name}.inner", f"{memory.name}.outer")
    return (memory.name,)


def slots(program: OptimizerProgram) -> tuple[Slot, ...]:
    """All tensors that a program keeps for each weight: states, what gathers, and kept results."""
    shapes = {line.result: line.shape for line in program.lines if line.function != "learn"}
    learns = {line.result: line.operands for line in program.lines if line.function == "learn"}
    found: list[Slot] = []
    for memory in program.memories:
        if memory.kind == "associative":
            hidden = dict(memory.options)["hidden"]
            assert isinstance(hidden, int)
            inner, outer = state_names(memory)
            found += [Slot(inner, "hidden × in", hidden, "random"), Slot(outer, "in × hidden", hidden)]
        else:
            found.append(Slot(memory.name, memory.shape))
        for name, operand in zip(gathered_names(memory), learns[memory.name], strict=False):
            # Numbers gather as one for each weight.
            is_number = not isinstance(operand, str) or operand in timing(program).known
            shape = "1 × 1" if is_number else shapes.get(str(operand), WEIGHT)
            found.append(Slot(name, shape))
    return (*found, *(Slot(line.result, line.shape) for line in timing(program).kept))
