"""Splits the lines of a body whose memories read themselves into what must run chunk by chunk, and the rest.

A read that looks at the start of the chunk needs the state there, so only what lies between such a read and
the next state of the memory that it looks at is sequential. What that needs runs over all tokens before, all
else over all tokens after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nestdsl.plan.instructions import Instruction, Learn, Peek, Recall, operands


@dataclass(frozen=True, slots=True)
class Stages:
    """The lines of a body in three parts, each in its order."""

    before: tuple[Instruction, ...]
    loop: tuple[Instruction, ...]
    after: tuple[Instruction, ...]


def stages(lines: Sequence[Instruction]) -> Stages:
    """The three parts of the lines of one body; without a `Peek` all are `before`."""
    peeked = {line.level for line in lines if isinstance(line, Peek)}
    inside = {
        number
        for number, line in enumerate(lines)
        if isinstance(line, Peek) or (isinstance(line, Learn) and line.level in peeked)
    }
    if not inside:
        return Stages(tuple(lines), (), ())
    makers = {line.result: number for number, line in enumerate(lines)}
    needs = [{makers[name] for name in operands(line) if name in makers} for line in lines]
    size = 0
    while size != len(inside):
        size = len(inside)
        inside |= _behind(needs, inside) & _ahead(needs, inside)
        # What one chunk of a memory's pass left behind is read with that chunk.
        for number, line in enumerate(lines):
            if isinstance(line, Recall):
                learned = makers[line.context]
                if number in inside or learned in inside:
                    inside |= {number, learned}
    needed = _ahead(needs, inside) - inside
    return Stages(
        tuple(line for number, line in enumerate(lines) if number in needed),
        tuple(line for number, line in enumerate(lines) if number in inside),
        tuple(line for number, line in enumerate(lines) if number not in needed | inside),
    )


def _behind(needs: list[set[int]], some: set[int]) -> set[int]:
    """Some lines, and all that need what they make."""
    found = set(some)
    for number, needed in enumerate(needs):
        if needed & found:
            found.add(number)
    return found


def _ahead(needs: list[set[int]], some: set[int]) -> set[int]:
    """Some lines, and all that they need."""
    found = set(some)
    for number in range(len(needs) - 1, -1, -1):
        if number in found:
            found |= needs[number]
    return found
