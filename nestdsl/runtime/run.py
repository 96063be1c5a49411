"""How the regions of a body are run: as they are, or, in `compilation.py`, compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from nestdsl.runtime.compile_regions import Region
from nestdsl.runtime.interpreter import Frame, execute
from nestdsl.runtime.program import Program
from nestdsl.runtime.state import POSITION, State


class Run:
    """Runs blocks and regions as they are."""

    unit_count = 0
    """How many of them it has compiled that run by themselves."""

    def block(self, block: nn.Module, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        return block(x, state)

    def copies(
        self, copies: nn.ModuleList, x: Tensor, states: Sequence[State] | None
    ) -> tuple[Tensor, list[State]]:
        """The copies of a repeat, one after the other."""
        return in_turn(copies, x, states, self.block)

    def region(self, frame: Frame, region: Region) -> None:
        """Runs a region on whole flows."""
        execute(frame, region.lines)

    def loop(self, frame: Frame, region: Region) -> None:
        """Runs a region chunk by chunk."""
        program = frame.program
        flows = tuple(frame.values[name] for name in region.takes)
        own = {name: frame.state[name] for name in region.stateful if name in frame.state}
        own = self.loop_state(own) | {POSITION: frame.state.get(POSITION)}

        def step(flows: Sequence[Tensor], state: State, *, aligned: bool) -> tuple[Sequence[Tensor], State]:
            return self.chunk(frame.module, program, region, flows, state, aligned=aligned)

        made, following = in_chunks(step, flows, own, chunk=program.chunk_tokens, cycle=program.cycle_tokens)
        frame.following |= following
        frame.values.update(zip(region.gives, made, strict=True))

    def loop_state(self, state: State) -> State:
        """The state with which a loop begins."""
        return state

    def chunk(
        self,
        module: nn.Module,
        program: Program,
        region: Region,
        flows: Sequence[Tensor],
        state: State,
        *,
        aligned: bool,
    ) -> tuple[tuple[Tensor, ...], State]:
        """Runs a region on the tokens of one chunk, or some of them; aligned: a cycle begins with them."""
        return run_region(module, program, region, flows, state, aligned=aligned)


PLAIN = Run()


def in_turn(
    copies: Iterable[nn.Module],
    x: Tensor,
    states: Sequence[State] | None,
    run: Callable[..., tuple[Tensor, State]] = PLAIN.block,
) -> tuple[Tensor, list[State]]:
    """Runs the copies of a block one after the other, each from its own state."""
    following: list[State] = []
    for number, copy in enumerate(copies):
        x, after = run(copy, x, None if states is None else states[number])
        following.append(after)
    return x, following


def run_region(
    module: nn.Module,
    program: Program,
    region: Region,
    flows: Sequence[Any],
    state: State,
    aligned: bool | None = None,
) -> tuple[tuple[Any, ...], State]:
    """A region by itself: from the flows that it takes, and the state of what it runs, to those that it gives
    and the next state. aligned: as in `Frame`."""
    frame = Frame(module, program, dict(zip(region.takes, flows, strict=True)), state, PLAIN, aligned)
    execute(frame, region.lines)
    return tuple(frame.values[name] for name in region.gives), frame.following


def in_chunks(
    step: Callable[..., tuple[Sequence[Tensor], State]],
    flows: Sequence[Tensor],
    state: State,
    *,
    chunk: int,
    cycle: int,
) -> tuple[list[Tensor], State]:
    """Runs `step(flows, state, aligned=...)` on flows [batch, tokens, ...], a chunk at a time: gives what it
    makes, for all tokens, and the next state.

    The state is that of what `step` runs, with how much of a cycle each row has read under `POSITION`: None
    at the start of a context. aligned: a cycle of so many tokens begins with the chunk.
    """
    batch, tokens = flows[0].shape[:2]
    own = {name: part for name, part in state.items() if name != POSITION}
    position = state.get(POSITION)
    if position is None:
        position, starts = torch.zeros(batch, dtype=torch.int64, device=flows[0].device), [0]
    else:  # one token lies in one chunk wherever it stands, so that nobody waits for the positions
        starts = sorted(set(position.tolist())) if tokens > 1 else []
    made: list[Sequence[Tensor]] = []
    read = 0
    for part in chunks(flows, chunk, starts):
        aligned = bool(starts) and all((start + read) % cycle == 0 for start in starts)
        found, following = step(part, own, aligned=aligned)
        own |= following
        made.append(found)
        read += part[0].shape[1]
    whole = [torch.cat(parts, dim=1) for parts in zip(*made, strict=True)]
    return whole, own | {POSITION: (position + tokens) % cycle}


def chunks(flows: Sequence[Tensor], chunk: int, starts: Sequence[int]) -> Iterator[tuple[Tensor, ...]]:
    """Flows [batch, tokens, ...] in parts none of which goes beyond a chunk in any row.

    starts: how many tokens of a chunk the rows have read, each such number once. Where it is the same for all
    rows, whole chunks are laid out one after the other in memory: so they look the same whatever the number
    of tokens, and what is compiled for one serves all.
    """
    tokens = flows[0].shape[1]
    if len(starts) != 1:
        yield from zip(*(flow.split(_sizes(tokens, chunk, starts), dim=1) for flow in flows), strict=True)
        return
    first = min(tokens, -starts[0] % chunk)
    count, rest = divmod(tokens - first, chunk)
    sizes = [size for size in (first, count * chunk, rest) if size]
    pieces = list(zip(*(flow.split(sizes, dim=1) for flow in flows), strict=True))
    if first:
        yield pieces.pop(0)
    if count:
        whole = (flow.unflatten(1, (count, chunk)).transpose(0, 1).contiguous() for flow in pieces.pop(0))
        yield from zip(*(flow.unbind(0) for flow in whole), strict=True)
    yield from pieces


def _sizes(tokens: int, chunk: int, starts: Sequence[int]) -> list[int]:
    """The lengths of parts that end wherever a chunk of any row does."""
    ends = {end for start in starts for end in range(chunk - start % chunk, tokens, chunk)} | {tokens}
    cuts = [0, *sorted(ends)]
    return [end - begin for begin, end in pairwise(cuts)]
