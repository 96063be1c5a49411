"""Cuts a body into pieces that can each be compiled as one graph: between them stand repeats and loops."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass, replace

from nestdsl.plan.names import TAKEN, Names, identifier
from nestdsl.plan.plan import Body, Instruction, Plan
from nestdsl.plan.stages import names_in

INPUT = identifier("in")


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that run together: a part, which is a method from the flows that it takes to those that
    it gives, or, if `method` is empty, a block that is itself made of pieces or a line too small to compile.

    stateful: the levels and blocks whose state it needs. is_loop: it runs chunk by chunk. is_unit: it can be
    compiled, and gains by it.
    """

    lines: tuple[Instruction, ...]
    method: str = ""
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    stateful: tuple[str, ...] = ()
    is_loop: bool = False
    is_unit: bool = False


def staged_bodies(plan: Plan) -> frozenset[str]:
    """The names of the bodies that are made of several pieces: with a loop, repeats or a cache that grows
    from segment to segment anywhere inside."""
    staged: set[str] = set()
    for body in plan.bodies:  # parts before wholes
        if (
            body.loop
            or caches(body, plan)
            or any(block.repeated or staged & set(block.bodies) for block in body.blocks)
        ):
            staged.add(body.name)
    return frozenset(staged)


def cycle_tokens(body: Body) -> int:
    """After how many tokens all chunks and periods of the memories in the loop begin at once."""
    targets = {line.target for line in body.loop if line.operation == "learn"}
    targets |= {name for shared in body.shared if shared.attribute in targets for name in shared.members}
    lengths = [body.chunk_tokens]
    for level in body.levels:
        if level.attribute in targets:
            lengths += [int(value or 1) for name, value in level.options if name in ("chunk", "period")]
    return math.lcm(*lengths)


def caches(body: Body, plan: Plan) -> frozenset[str]:
    """The attentions of a body, if sequences are read in segments: what they keep grows with each, and each
    size would be compiled for itself. So they run as they are, and what stands around them is compiled."""
    if not plan.clock.segment_tokens:
        return frozenset()
    return frozenset(level.attribute for level in body.levels if level.kind == "attention")


def cut(body: Body, staged: Set[str], caches: Set[str] = frozenset()) -> tuple[Piece, ...]:
    """The pieces of a body, in the order in which they run."""
    apart = {
        block.attribute for block in body.blocks if block.repeated or not staged.isdisjoint(block.bodies)
    } | caches
    pieces = [
        *_whole(body.instructions, apart),
        *([Piece(body.loop, "loop", is_loop=True)] if body.loop else []),
        *_whole(body.after, apart),
    ]
    keeps = {level.attribute for level in body.levels if level.stateful}
    keeps |= {part.attribute for part in (*body.blocks, *body.shared)}
    named = Names([*(level.attribute for level in body.levels), *keeps, *TAKEN])
    wanted = {body.output}
    found: list[Piece] = []
    for number in range(len(pieces) - 1, -1, -1):
        piece = pieces[number]
        made = {line.result for line in piece.lines}
        takes = tuple(dict.fromkeys(name for line in piece.lines for name in _read(line) if name not in made))
        gives = tuple(line.result for line in piece.lines if line.result in wanted)
        wanted |= set(takes)
        touched = dict.fromkeys(line.target for line in piece.lines if _is_placed(line))
        found.append(
            replace(
                piece,
                takes=takes,
                gives=gives,
                stateful=tuple(name for name in touched if name in keeps),
                is_unit=_is_unit(piece, body, apart),
            )
        )
    found.reverse()
    return tuple(
        replace(piece, method=named.new(piece.method) if piece.is_unit or piece.is_loop else "")
        for piece in found
    )


def _whole(lines: Sequence[Instruction], apart: Collection[str]) -> Iterable[Piece]:
    """Straight stretches of lines, and between them the blocks and attentions that are apart."""
    stretch: list[Instruction] = []
    for line in lines:
        if _is_placed(line) and line.target in apart:
            if stretch:
                yield Piece(tuple(stretch), "part")
            yield Piece((line,))
            stretch = []
        else:
            stretch.append(line)
    if stretch:
        yield Piece(tuple(stretch), "part")


def _read(line: Instruction) -> tuple[str, ...]:
    """The flows that a line reads; what is made of numbers alone has the shape of what enters."""
    named = names_in(line)
    return named if named or line.operation != "function" else (INPUT,)


def _is_placed(line: Instruction) -> bool:
    return line.operation in ("read", "learn", "recall", "peek", "block")


def _is_unit(piece: Piece, body: Body, apart: Collection[str]) -> bool:
    """A single product of matrices gains nothing; what an attention keeps grows from chunk to chunk."""
    levels = {level.attribute: level for level in body.levels}
    if piece.is_loop:
        blocks = any(line.operation == "block" and line.target in apart for line in piece.lines)
        return not blocks and all(
            line.target not in levels or levels[line.target].kind != "attention"
            for line in piece.lines
            if line.operation == "learn"
        )
    match piece.lines:
        case (Instruction(operation="read", target=target),):
            level = levels[target]
            return level.surprise is not None or level.kind not in ("embedding", "linear")
    return bool(piece.method)
