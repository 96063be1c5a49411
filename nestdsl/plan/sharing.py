"""Which memories of a body can work as one: those with the same key, step, retention, clock and rule.

Side by side: what one token writes into S along its key k depends on k, step and retention in the same way
for all of them, so that one triangular factorisation serves all, and their values are columns of one.

One running product (`collapse.py`): linear memories that moreover make their own targets are their starts
times one matrix that all of them have in common.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from nestdsl.plan.names import Names
from nestdsl.plan.plan import Instruction, LevelPlan, SharedPlan
from nestdsl.plan.rewrite import Rewriter, ancestors, in_order, used
from nestdsl.plan.starts import without_start

SIDE_BY_SIDE = "side by side"
ONE_PRODUCT = "one running product"


@dataclass(frozen=True, slots=True)
class Lowered:
    """A body on its way to a plan: levels by attribute, lines in their order, what is shared, its output."""

    levels: Mapping[str, LevelPlan]
    lines: tuple[Instruction, ...]
    output: str
    shared: tuple[SharedPlan, ...] = ()


def share(body: Lowered, attributes: Names, variables: Names) -> Lowered:
    """The same body with memories side by side where they can be."""
    for learns in groups(body):
        apart = _independent(body.lines, learns)
        if len(apart) > 1:
            body = _side_by_side(body, apart, attributes, variables)
    return body


def groups(body: Lowered) -> list[list[Instruction]]:
    """The lines by which memories learn, those of each group together."""
    found: dict[object, list[Instruction]] = defaultdict(list)
    for line in body.lines:
        if line.operation == "learn" and len(line.operands) == 2:
            level = body.levels[line.target]
            if level.kind == "matrix" and not level.carried:  # what is carried keeps a state of its own
                found[line.operands[0], line.keywords, signature(level)].append(line)
    return [learns for learns in found.values() if len(learns) > 1]


def signature(level: LevelPlan) -> object:
    """What two memories must have in common to share their factor, beside key, step, retain and momentum."""
    rule = tuple(pair for pair in without_start(level.options) if pair[0] != "anchored")
    return level.input_size, level.arguments, level.gradient, rule


def _independent(lines: Sequence[Instruction], learns: Sequence[Instruction]) -> list[Instruction]:
    """Those of the memories none of which needs what another answers while it learns."""
    found: list[Instruction] = []
    for line in learns:
        needed = ancestors(lines, (str(name) for name in line.operands))
        if not any(other.result in needed for other in found):
            found.append(line)
    return found


def _side_by_side(
    body: Lowered, learns: Sequence[Instruction], attributes: Names, variables: Names
) -> Lowered:
    declared = list(body.levels)
    learns = sorted(learns, key=lambda line: declared.index(line.target))
    members = tuple(line.target for line in learns)
    place = {name: number for number, name in enumerate(members)}
    together = attributes.new("together")
    first = learns[0]
    context = variables.new(f"{together}_context")
    key, values = first.operands[0], tuple(line.operands[1] for line in learns)
    asked: dict[str | int | float, set[str]] = defaultdict(set)
    for line in body.lines:
        if line.operation == "peek" and line.target in place:
            asked[line.operands[0]].add(line.target)

    lines: list[Instruction] = []
    writer = Rewriter(variables)
    for line in body.lines:
        number = place.get(line.target)
        if number is None or line.operation not in ("learn", "recall", "peek"):
            lines.append(line)
        elif line.operation == "learn":
            if line == first:
                lines.append(Instruction(context, "learn", together, (key, *values), first.keywords))
        elif line.operation == "recall":
            lines.append(replace(line, target=together, operands=(context, line.operands[1], number)))
        elif len(asked[line.operands[0]]) == 1:
            lines.append(replace(line, target=together, operands=(line.operands[0], number)))
        else:
            query = line.operands[0]
            before = len(writer.made)
            wide = writer.line("peek", together, (query,), named=f"{query}_{together}")
            lines += writer.made[before:]
            lines.append(Instruction(line.result, "columns", together, (wide, number)))
    levels = {
        name: replace(level, stateful=False) if name in place else level
        for name, level in body.levels.items()
    }
    return Lowered(
        levels,
        tuple(used(in_order(lines), [body.output])),
        body.output,
        (*body.shared, SharedPlan(together, SIDE_BY_SIDE, members)),
    )
