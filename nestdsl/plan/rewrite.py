"""Changes the lines of a body: other lines for some, each thing computed once, nothing that is not used."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from nestdsl.plan.instructions import (
    Call,
    Columns,
    Instruction,
    Peek,
    ReadStart,
    Recall,
    operands,
    renamed,
)
from nestdsl.plan.names import Names
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS

_WITHOUT_EFFECT = (Call, Peek, Recall, ReadStart, Columns)
"""Instructions that may be left out if nothing needs their result."""
_FROM_FLOWS = (Call, Peek, Recall)
_DRAWN = ("dropout",)
"""Functions that give something else each time."""


class Rewriter:
    """Writes new lines. `made` are all of them; what is asked for twice is made once."""

    def __init__(self, variables: Names) -> None:
        self.variables = variables
        self.made: list[Instruction] = []
        self._known: dict[Instruction, str] = {}

    def line(self, wanted: Instruction, *, named: str) -> str:
        """The variable that holds what a line makes, which has no result yet: a new one, called like `named`,
        unless such a line is there."""
        if wanted not in self._known:
            self._known[wanted] = self.variables.new(named)
            self.made.append(replace(wanted, result=self._known[wanted]))
        return self._known[wanted]


def in_order(lines: Sequence[Instruction]) -> list[Instruction]:
    """The lines so that each comes after what it needs, otherwise as they stand. They must have no circle."""
    makers = {line.result: number for number, line in enumerate(lines)}
    waiting, needed_by = [0] * len(lines), defaultdict(list)
    for number, line in enumerate(lines):
        needs = {makers[name] for name in operands(line) if name in makers}
        waiting[number] = len(needs)
        for need in needs:
            needed_by[need].append(number)
    ready = [number for number, count in enumerate(waiting) if not count]
    found: list[Instruction] = []
    while ready:
        number = heapq.heappop(ready)
        found.append(lines[number])
        for other in needed_by[number]:
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(ready, other)
    assert len(found) == len(lines), "lines that need one another"
    return found


def used(lines: Sequence[Instruction], outputs: Iterable[str]) -> list[Instruction]:
    """The lines, in their order, without those whose result nothing needs."""
    wanted, kept = set(outputs), []
    for line in reversed(lines):
        if not isinstance(line, _WITHOUT_EFFECT) or line.result in wanted:
            kept.append(line)
            wanted |= set(operands(line))
    return kept[::-1]


def once(lines: Sequence[Instruction]) -> tuple[list[Instruction], dict[str, str]]:
    """The lines without those that compute, from flows alone, what an earlier one has, and which variable
    stands for which. The lines stand in order."""
    known: dict[Instruction, str] = {}
    names: dict[str, str] = {}
    kept: list[Instruction] = []
    for line in lines:
        line = renamed(line, lambda name: names.get(name, name))
        if isinstance(line, _FROM_FLOWS) and not _differs_each_time(line):
            first = known.setdefault(replace(line, result=""), line.result)
            if first != line.result:
                names[line.result] = first
                continue
        kept.append(line)
    return kept, names


def _differs_each_time(line: Instruction) -> bool:
    return isinstance(line, Call) and (line.function in _DRAWN or line.function in PYTHON_FUNCTIONS)


def ancestors(lines: Sequence[Instruction], names: Iterable[str]) -> set[str]:
    """Some variables, and all from which they are made. The lines stand in order."""
    found = set(names)
    for line in reversed(lines):
        if line.result in found:
            found |= set(operands(line))
    return found
