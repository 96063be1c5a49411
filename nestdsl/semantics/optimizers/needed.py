"""Which lines of an optimizer are needed: the others, of flows that nothing uses, are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nestdsl.graph.optimizer import GradientMemory, Line, Operand


def needed(
    results: Iterable[Operand], memories: Mapping[str, GradientMemory], lines: Sequence[Line]
) -> tuple[Line, ...]:
    """The lines that `results` depend on, through what memories learn too, in their order."""
    found = {result for result in results if isinstance(result, str)}
    is_new = True
    while is_new:
        size = len(found)
        for line in reversed(lines):
            if line.result in found:
                found |= {operand for operand in line.operands if isinstance(operand, str)}
                found |= {str(value) for name, value in line.options if name == "memory"}
        for name in found & memories.keys():
            found |= {value for _, value in memories[name].arguments if isinstance(value, str)}
        is_new = len(found) > size
    return tuple(line for line in lines if line.result in found)


def learned_in(lines: Iterable[Line]) -> set[str]:
    """The memories that some of the lines are for."""
    return {line.result for line in lines if line.function == "learn"}
