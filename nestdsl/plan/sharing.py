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

from nestdsl.plan.instructions import Columns, Instruction, Learn, Peek, Recall
from nestdsl.plan.names import Names
from nestdsl.plan.plan import LevelPlan, SharedPlan, Sharing
from nestdsl.plan.rewrite import Rewriter, ancestors, in_order, used
from nestdsl.plan.starts import without_start
from nestdsl.vocabulary.signatures import LIBRARY, Memory


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


def groups(body: Lowered) -> list[list[Learn]]:
    """The lines by which memories learn, those of each group together."""
    found: dict[object, list[Learn]] = defaultdict(list)
    for line in body.lines:
        if isinstance(line, Learn) and len(line.values) == 1 and line.level in body.levels:
            level = body.levels[line.level]
            # What is carried keeps a state of its own.
            if LIBRARY.memory(level.kind) is Memory.MATRIX and not level.carried:
                found[line.key, line.factors, signature(level)].append(line)
    return [learns for learns in found.values() if len(learns) > 1]


def signature(level: LevelPlan) -> object:
    """What two memories must have in common to share their factor, beside key, step, retain and momentum."""
    rule = tuple(pair for pair in without_start(level.options) if pair[0] != "anchored")
    return level.kind, level.input_size, level.arguments, level.gradient, rule


def _independent(lines: Sequence[Instruction], learns: Sequence[Learn]) -> list[Learn]:
    """Those of the memories none of which needs what another answers while it learns."""
    found: list[Learn] = []
    for line in learns:
        needed = ancestors(lines, (line.key, *line.values))
        if not any(other.result in needed for other in found):
            found.append(line)
    return found


def _side_by_side(body: Lowered, learns: Sequence[Learn], attributes: Names, variables: Names) -> Lowered:
    declared = list(body.levels)
    learns = sorted(learns, key=lambda line: declared.index(line.level))
    members = tuple(line.level for line in learns)
    place = {name: number for number, name in enumerate(members)}
    together = attributes.new("together")
    first = learns[0]
    context = variables.new(f"{together}_context")
    values = tuple(line.values[0] for line in learns)
    asked: dict[str, set[str]] = defaultdict(set)
    for line in body.lines:
        if isinstance(line, Peek) and line.level in place:
            asked[line.query].add(line.level)

    lines: list[Instruction] = []
    writer = Rewriter(variables)
    for line in body.lines:
        match line:
            case Learn() if line.level in place:
                if line == first:
                    lines.append(replace(first, result=context, level=together, values=values))
            case Recall() if line.level in place:
                lines.append(replace(line, level=together, context=context, member=place[line.level]))
            case Peek() if line.level in place and len(asked[line.query]) == 1:
                lines.append(replace(line, level=together, member=place[line.level]))
            case Peek() if line.level in place:
                before = len(writer.made)
                wide = writer.line(Peek("", together, line.query), named=f"{line.query}_{together}")
                lines += writer.made[before:]
                lines.append(Columns(line.result, together, wide, place[line.level]))
            case _:
                lines.append(line)
    levels = {
        name: replace(level, stateful=False) if name in place else level
        for name, level in body.levels.items()
    }
    return Lowered(
        levels,
        tuple(used(in_order(lines), [body.output])),
        body.output,
        (*body.shared, SharedPlan(together, Sharing.SIDE_BY_SIDE, members)),
    )
