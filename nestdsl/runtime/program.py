"""What a block runs: a body of the plan, divided into regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nestdsl.plan.plan import Body, LevelPlan, Sharing
from nestdsl.runtime.compile_regions import Region, cycle_tokens, is_one_graph
from nestdsl.runtime.state import POSITION


@dataclass(frozen=True, eq=False)
class Program:
    """A body in regions, and what passes ask of it. All copies of a block have the same one.

    chunk_tokens: if not 0, a region runs on so many tokens at a time, counted from the start of the context;
    after cycle_tokens all chunks of all memories in that region begin at once. stateful: the levels that keep
    state, and the memories that work as one; carried: those of them whose state goes on from one sequence of
    a stream to the next; kept: the parts of a state, in their order. is_one_graph: whether all of it can be
    compiled as one graph.
    """

    body: Body
    regions: tuple[Region, ...]
    name: str
    output: str
    levels: dict[str, LevelPlan]
    blocks: tuple[str, ...]
    stateful: tuple[str, ...]
    kept: tuple[str, ...]
    carried: tuple[str, ...]
    chunk_tokens: int
    cycle_tokens: int
    is_one_graph: bool

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        return self


def program_of(body: Body, regions: tuple[Region, ...]) -> Program:
    together = [shared.attribute for shared in body.shared if shared.form is Sharing.SIDE_BY_SIDE]
    stateful = [level for level in body.levels if level.stateful]
    names = (*(level.attribute for level in stateful), *together)
    blocks = tuple(block.attribute for block in body.blocks)
    position = (POSITION,) if body.chunk_tokens else ()
    return Program(
        body=body,
        regions=regions,
        name=body.name,
        output=body.output,
        levels={level.attribute: level for level in body.levels},
        blocks=blocks,
        stateful=names,
        kept=(*names, *position, *blocks),
        carried=tuple(level.attribute for level in stateful if level.carried),
        chunk_tokens=body.chunk_tokens,
        cycle_tokens=cycle_tokens(body) if body.chunk_tokens else 0,
        is_one_graph=is_one_graph(regions),
    )
