"""Which lines of an optimizer are needed: the others, of flows that nothing uses, are left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nestdsl.graph.optimizer import GradientMemory, Line, Operand


def needed(
    results: Iterable[Operand], memories: Mapping[str, GradientMemory], lines: Sequence[Line]
) -> tuple[Line, ...]:
    """The lines that `results` depend on, through what memories learn too, in their order."""
    by_result: dict[str, list[Line]] = {}
    for line in lines:
        by_result.setdefault(line.result, []).append(line)
    found: set[str] = set()
    waiting: list[object] = list(results)
    while waiting:
        result = waiting.pop()
        if not isinstance(result, str) or result in found:
            continue
        found.add(result)
        for line in by_result.get(result, ()):
            waiting += line.operands
            waiting += [value for name, value in line.options if name == "memory"]
        if result in memories:
            waiting += [value for _, value in memories[result].arguments]
    return tuple(line for line in lines if line.result in found)


def learned_in(lines: Iterable[Line]) -> set[str]:
    """The memories that some of the lines are for."""
    return {line.result for line in lines if line.function == "learn"}
