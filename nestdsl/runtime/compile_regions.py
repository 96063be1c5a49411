"""Divides a body into regions, each of which can be compiled as one graph: between them stand repeats and
loops."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass, replace

from nestdsl.plan.instructions import Call, Instruction, Learn, Read, RunBlock, operands, part_of
from nestdsl.plan.names import Names, identifier
from nestdsl.plan.plan import Body, LevelPlan, Plan
from nestdsl.runtime.kinds import LAYERS
from nestdsl.vocabulary.signatures import LIBRARY, Memory

INPUT = identifier("in")
"""The variable that holds what enters a body."""
APART = "apart"
_ONE_PRODUCT = frozenset(name for name, module in LAYERS.items() if getattr(module, "is_one_product", False))
"""The name of a region that is not compiled."""


@dataclass(frozen=True, slots=True)
class Region:
    """Instructions that run together, from the flows that they take to those that they give.

    name: its own within the body, or `APART`. stateful: the levels and blocks whose state it needs. is_loop:
    it runs chunk by chunk. is_unit: it can be compiled, and gains by it.
    """

    lines: tuple[Instruction, ...]
    name: str
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    stateful: tuple[str, ...] = ()
    is_loop: bool = False
    is_unit: bool = False


def regions(body: Body, plan: Plan) -> tuple[Region, ...]:
    """The regions of a body, in the order in which they run."""
    staged = staged_bodies(plan)
    apart = {
        block.attribute for block in body.blocks if block.repeated or not staged.isdisjoint(block.bodies)
    } | _caches(body, plan)
    found = [
        *_around(body.instructions, apart),
        *([Region(body.loop, "loop", is_loop=True)] if body.loop else []),
        *_around(body.after, apart),
    ]
    keeps = {level.attribute for level in body.levels if level.stateful}
    keeps |= {part.attribute for part in (*body.blocks, *body.shared)}
    wanted = {body.output}
    for number in range(len(found) - 1, -1, -1):
        region = found[number]
        made = {line.result for line in region.lines}
        read = dict.fromkeys(name for line in region.lines for name in _read(line) if name not in made)
        gives = tuple(line.result for line in region.lines if line.result in wanted)
        wanted |= set(read)
        parts = dict.fromkeys(part_of(line) for line in region.lines)
        found[number] = replace(
            region,
            takes=tuple(read),
            gives=gives,
            stateful=tuple(part for part in parts if part in keeps),
            is_unit=_is_unit(region, body, apart),
        )
    names = Names()
    return tuple(
        replace(region, name=names.new(region.name) if region.is_unit or region.is_loop else APART)
        for region in found
    )


def is_one_graph(found: Sequence[Region]) -> bool:
    """Whether a body is one region that can be compiled."""
    return len(found) == 1 and found[0].is_unit and not found[0].is_loop


def staged_bodies(plan: Plan) -> frozenset[str]:
    """The names of the bodies that are made of several regions: with a loop, repeats or a cache that grows
    from segment to segment anywhere inside."""
    staged: set[str] = set()
    for body in plan.bodies:  # parts before wholes
        if (
            body.loop
            or _caches(body, plan)
            or any(block.repeated or staged & set(block.bodies) for block in body.blocks)
        ):
            staged.add(body.name)
    return frozenset(staged)


def cycle_tokens(body: Body) -> int:
    """After how many tokens all chunks and periods of the memories in the loop begin at once."""
    learning = {line.level for line in body.loop if isinstance(line, Learn)}
    learning |= {name for shared in body.shared if shared.attribute in learning for name in shared.members}
    lengths = [body.chunk_tokens]
    for level in body.levels:
        if level.attribute in learning:
            lengths += [int(value or 1) for name, value in level.options if name in ("chunk", "period")]
    return math.lcm(*lengths)


def _is_solved(level: LevelPlan) -> bool:
    """Whether it keeps keys and values, as attention does."""
    return LIBRARY.memory(level.kind) is Memory.SOLVED


def _caches(body: Body, plan: Plan) -> frozenset[str]:
    """The attentions of a body, if sequences are read in segments: what they keep grows with each, and each
    size would be compiled for itself. So they run as they are, and what stands around them is compiled."""
    if not plan.clock.segment_tokens:
        return frozenset()
    return frozenset(level.attribute for level in body.levels if _is_solved(level))


def _around(lines: Sequence[Instruction], apart: Collection[str]) -> Iterable[Region]:
    """Straight stretches of lines, and between them the blocks and attentions that are apart."""
    stretch: list[Instruction] = []
    for line in lines:
        if part_of(line) in apart:
            if stretch:
                yield Region(tuple(stretch), "part")
            yield Region((line,), APART)
            stretch = []
        else:
            stretch.append(line)
    if stretch:
        yield Region(tuple(stretch), "part")


def _read(line: Instruction) -> tuple[str, ...]:
    """The flows that a line reads; what is made of numbers alone has the shape of what enters."""
    named = tuple(operands(line))
    return named if named or not isinstance(line, Call) else (INPUT,)


def _is_unit(region: Region, body: Body, apart: Set[str]) -> bool:
    """A single product of matrices gains nothing; what an attention keeps grows from chunk to chunk."""
    if region.name == APART:
        return False
    levels = {level.attribute: level for level in body.levels}
    if region.is_loop:
        blocks = any(isinstance(line, RunBlock) and line.block in apart for line in region.lines)
        return not blocks and all(
            line.level not in levels or not _is_solved(levels[line.level])
            for line in region.lines
            if isinstance(line, Learn)
        )
    match region.lines:
        case (Read(level=name),):
            level = levels[name]
            return level.surprise is not None or level.kind not in _ONE_PRODUCT
    return True
