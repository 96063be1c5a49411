"""Which level of one program is which of another: named ones by name, the stages of a flow by what they are.

A stage without a name, such as the second `linear` of a flow, is called by its number there, and another put
before it would take its name. So the stages of a flow are aligned in their order, as the lines of two texts
are: two can be the same if their kind and their weights are alike, and what they read, what reads them and
their arguments decide between several. What cannot be decided is said, and nothing is taken for something
else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nestdsl.diagnostics.quantities import as_written
from nestdsl.plan.instructions import Call, Instruction, Peek, Read, Recall, RunBlock, operands
from nestdsl.plan.plan import Body, LevelPlan, Plan
from nestdsl.vocabulary.signatures import LIBRARY, Shapes

_DEPTH = 2
"""So many stages back what a level reads is looked at."""
_NUMBER = re.compile(r"_\d+$")


@dataclass(frozen=True, slots=True)
class Stage:
    """A level of a program, as far as it says which one it is.

    name: in the program, copies numbered; flow: of a stage without a name of its own, the flow that it is a
    stage of, else empty. shapes: of its weights. reads and read_by: in words.
    """

    name: str
    flow: str
    kind: str
    arguments: tuple[tuple[str, object], ...]
    shapes: Shapes
    reads: str
    read_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Match:
    """The levels of `there` by the names of those of `here` that they are; what differs in them, and what
    cannot be decided."""

    names: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()


def match(there: Mapping[str, Stage], here: Mapping[str, Stage]) -> Match:
    """Which stage of another program each stage of this one is."""
    names = {name: name for name, stage in here.items() if not stage.flow and name in there}
    undecided: list[str] = []
    for flow, own in _by_flow(here).items():
        others = _by_flow(there).get(flow, [])
        pairs, is_sure = _aligned(others, own)
        names |= {one.name: other.name for other, one in pairs}
        if not is_sure:
            alike = " and ".join(f"`{one.name}`" for one in (others if len(others) > len(own) else own))
            undecided.append(f"{alike} are alike, and it cannot be told which of them is which")
    remarks = [words for name, other in names.items() for words in _differences(there[other], here[name])]
    return Match(names, tuple(remarks), tuple(undecided))


def stages_of(plan: Plan) -> dict[str, Stage]:
    """The stages of a program by their names, those without weights too: their arguments mean something."""
    names = {path: name for name, path in paths(plan)}
    found = (_stage(names[path], level, body) for path, level, body in _levels(plan) if path in names)
    return {stage.name: stage for stage in found}


def levels_by_path(plan: Plan) -> Iterator[tuple[str, LevelPlan]]:
    """Each level by its place in the built model, with how it is built."""
    return ((path, level) for path, level, _ in _levels(plan))


def _levels(plan: Plan) -> Iterator[tuple[str, LevelPlan, Body]]:
    bodies = {body.name: body for body in plan.bodies}

    def walk(body: Body, prefix: str) -> Iterator[tuple[str, LevelPlan, Body]]:
        for level in body.levels:
            yield f"{prefix}{level.attribute}", level, body
        for block in body.blocks:
            for number, inner in enumerate(block.bodies):
                place = f"{block.attribute}.{number}." if block.repeated else f"{block.attribute}."
                yield from walk(bodies[inner], prefix + place)

    return walk(plan.root, "")


def paths(plan: Plan) -> Iterator[tuple[str, str]]:
    """The name of each level, copies numbered, with its place in the built model."""
    for level in plan.levels:
        for path in level.modules:
            name = level.name
            for number in (part for part in path.split(".") if part.isdigit()):
                name = name.replace("[*]", f"[{number}]", 1)
            yield name, path


def _stage(name: str, level: LevelPlan, body: Body) -> Stage:
    kind = LIBRARY.kinds.get(level.kind)  # one from Python need not be imported to take weights from
    makers = {line.result: line for line in body.lines}
    levels = {one.attribute: one for one in body.levels}
    own = [line for line in body.lines if getattr(line, "level", None) == level.attribute]
    results = {line.result for line in own}
    return Stage(
        name,
        _flow_of(name, level),
        level.kind,
        level.arguments,
        kind.parameters(dict(level.arguments), level.input_size, level.output_size) if kind else (),
        " and ".join(dict.fromkeys(_words(one, makers, levels) for line in own for one in operands(line))),
        tuple(_called(line, levels) for line in body.lines if results.intersection(operands(line))),
    )


def _flow_of(name: str, level: LevelPlan) -> str:
    """Of `stack[0].h.linear_2`: `stack[0].h`; of a projection such as `h.attention.query` with that part."""
    scope = name.removesuffix(level.name)
    flow, *rest = level.name.split(".")
    if not rest or _NUMBER.sub("", rest[0]) not in LIBRARY.kinds:
        return ""
    return ".".join((f"{scope}{flow}", *rest[1:]))


def _words(
    variable: str, makers: Mapping[str, Instruction], levels: Mapping[str, LevelPlan], depth: int = _DEPTH
) -> str:
    """What a variable is, in words: `gelu(linear(in))`."""
    line = makers.get(variable)
    if line is None:
        return variable.strip("_")
    if depth == 0:
        return "…"
    inner = ", ".join(_words(one, makers, levels, depth - 1) for one in operands(line))
    return f"{_called(line, levels)}({inner})"


def _called(line: Instruction, levels: Mapping[str, LevelPlan]) -> str:
    """What a line calls: a function, a block, a level by its name, or by its kind if it has none."""
    match line:
        case Call(function=name) | RunBlock(block=name):
            return name
        case Read(level=attribute) | Recall(level=attribute) | Peek(level=attribute) if attribute in levels:
            level = levels[attribute]
            return level.kind if _flow_of(level.name, level) else level.name
    return type(line).__name__.lower()


def _by_flow(stages: Mapping[str, Stage]) -> dict[str, list[Stage]]:
    found: dict[str, list[Stage]] = {}
    for stage in stages.values():
        if stage.flow:
            found.setdefault(stage.flow, []).append(stage)
    return found


def _aligned(there: Sequence[Stage], here: Sequence[Stage]) -> tuple[list[tuple[Stage, Stage]], bool]:
    """The best pairs in order, and whether no others are as good."""
    rows, columns = len(there), len(here)
    # Of all pairs from (i, j) on: the best score, and in how many ways it is reached.
    best = [[(0, 1)] * (columns + 1) for _ in range(rows + 1)]
    for i in reversed(range(rows)):
        for j in reversed(range(columns)):
            (below, ways_below), (beside, ways_beside), (beyond, ways_beyond) = (
                best[i + 1][j],
                best[i][j + 1],
                best[i + 1][j + 1],
            )
            alike = _likeness(there[i], here[j])
            paired = beyond + alike if alike else -1
            score = max(below, beside, paired)
            ways = (below == score) * ways_below + (beside == score) * ways_beside
            ways += (paired == score) * ways_beyond - (beyond == score) * ways_beyond
            best[i][j] = (score, ways)
    pairs: list[tuple[Stage, Stage]] = []
    i = j = 0
    while i < rows and j < columns:
        alike, score = _likeness(there[i], here[j]), best[i][j][0]
        if alike and best[i + 1][j + 1][0] + alike == score:
            pairs.append((there[i], here[j]))
            i, j = i + 1, j + 1
        elif best[i + 1][j][0] == score:
            i += 1
        else:
            j += 1
    return pairs, best[0][0][1] == 1


def _likeness(there: Stage, here: Stage) -> int:
    """How sure it is that two stages are one; 0 where they cannot be."""
    if (there.kind, there.shapes) != (here.kind, here.shapes):
        return 0
    # What comes before and what comes after say equally much: a stage may have been put on either side.
    alike = (there.reads == here.reads) + (there.read_by == here.read_by)
    return 4 + alike + (there.arguments == here.arguments)


def _differences(there: Stage, here: Stage) -> Iterator[str]:
    name = f"`{here.name}`"
    if there.name != here.name:
        yield f"{name} is `{there.name}` there"
    if there.kind != here.kind:
        yield f"{name} is of the kind `{here.kind}`, there `{there.kind}`"
        return
    before = dict(there.arguments)
    for argument, value in here.arguments:
        if before.get(argument) != value:
            yield f"{name} has {argument} = {as_written(value)}, there {as_written(before.get(argument))}"
    if there.reads != here.reads:
        yield f"{name} reads {here.reads}, there {there.reads}"
