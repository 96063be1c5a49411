"""Caches of attentions while sequences are read with their states cut at segment ends.

A cache of what earlier segments wrote is a constant to the loss of a segment, so it can stand in one buffer
with room for the whole sequence, and needs no gradient.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from nestdsl.runtime.block import Block, blocks_within
from nestdsl.runtime.kinds.attention import Attention
from nestdsl.runtime.state import Path, State, get, put


def in_buffers(block: Block, state: State, tokens: int) -> State:
    """The state of a block in which caches have room for so many more tokens, each segment of which is read
    in one call. Not under autocast, where keys may be of any kind."""
    for path, attention in _attentions(block):
        part = get(state, path)
        kind = part["key"].dtype
        if not torch.is_autocast_enabled(part["key"].device.type):
            state = put(state, path, attention.in_room(part, tokens, kind))
    return state


def out_of_buffers(block: Block, state: State) -> State:
    """The same state as it is elsewhere."""
    for path, attention in _attentions(block):
        state = put(state, path, attention.out_of_room(get(state, path)))
    return state


def _attentions(block: Block, path: Path = ()) -> Iterator[tuple[Path, Attention]]:
    """The attentions of a block, but for those that run chunk by chunk: a chunk differentiates through the
    keys of the chunks before it in the same segment."""
    if block.program.chunk_tokens:
        return
    for name in block.program.stateful:
        part = getattr(block, name)
        if isinstance(part, Attention):
            yield (*path, name), part
    for inner, copy in blocks_within(block, path):
        yield from _attentions(copy, inner)
