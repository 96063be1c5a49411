"""Streams: sequences that follow one another, through which some levels keep their state (`reset never`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from nestdsl.runtime.block import Block, blocks_of
from nestdsl.runtime.learning.levels import PlasticLevel
from nestdsl.runtime.learning.plastic import Plastic
from nestdsl.runtime.state import POSITION, State, get, put
from nestdsl.vocabulary.timing import Reset

Here = Callable[[Block, State, State], State]
"""What becomes of the state of one block, from that and a fresh one, the blocks within it apart."""


def next_start(block: Block, state: State, fresh: State) -> State:
    """The state in which the next sequence starts: the last one for what is carried, else fresh."""
    return _everywhere(_next_start, block, state, fresh)


def _next_start(block: Block, state: State, fresh: State) -> State:
    following = {**fresh, **{name: state[name] for name in block.program.carried}}
    if block.program.chunk_tokens and block.program.carried:
        following[POSITION] = state[POSITION]
    return following


def from_parents(levels: list[PlasticLevel], state: State) -> State:
    """The state in which levels that start again do so from parents that were carried [Nested Learning, Eq.
    72]."""
    for level in levels:
        if level.parent is None or level.carried:
            continue
        weights = get(state, level.parent).get("weights")
        if weights is not None:
            part = {key: value for key, value in get(state, level.path).items() if key == "layer"}
            state = put(state, level.path, {**part, **level.layer.start_at(weights)})
    return state


def with_present_starts(block: Block, state: State, fresh: State) -> State:
    """The state with the starts to which retention lets carried levels return as the outer levels have
    them now, and differentiable with respect to these."""
    return _everywhere(_with_present_starts, block, state, fresh)


def _with_present_starts(block: Block, state: State, fresh: State) -> State:
    following = dict(state)
    for name in block.program.carried:
        part = getattr(block, name)
        following[name] = (
            _plastic(part, state[name])
            if isinstance(part, Plastic)
            else {
                key: fresh[name][key] if key.startswith("start") else value
                for key, value in state[name].items()
            }
        )
    return following


def _everywhere(here: Here, block: Block, state: State, fresh: State) -> State:
    """A block's state and those of all blocks within it."""
    following = here(block, state, fresh)
    for name in block.program.blocks:
        part = getattr(block, name)
        if isinstance(part, nn.ModuleList):
            copies = zip(blocks_of(part), state[name], fresh[name], strict=True)
            following[name] = [_everywhere(here, *copy) for copy in copies]
        else:
            following[name] = _everywhere(here, part, state[name], fresh[name])
    return following


def _plastic(layer: Plastic, state: dict[str, Any]) -> dict[str, Any]:
    if "weights" not in state or layer.reset is Reset.PARENT:  # whose start is where the parent was
        return state
    memories = {
        name: {**memory, "start": layer.shared_start(name, len(state["weights"][name]))}
        if "start" in memory
        else memory
        for name, memory in state["memories"].items()
    }
    return {**state, "memories": memories}
