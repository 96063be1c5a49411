"""Caches of attentions while sequences are read with their states cut at segment ends.

A cache of what earlier segments wrote is a constant to the loss of a segment, so it can stand in one buffer
with room for the whole sequence, and needs no gradient.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from nestdsl.runtime.block import Block, State, blocks_of
from nestdsl.runtime.kinds.attention import Attention
from nestdsl.runtime.surprise.levels import Path, get, put


def in_rooms(block: Block, state: State, tokens: int) -> State:
    """The state of a block in which caches have room for so many more tokens, each segment of which is read
    in one call. Not under autocast, where keys may be of any kind."""
    for path, attention in _attentions(block):
        part = get(state, path)
        kind = part["key"].dtype
        if not torch.is_autocast_enabled(part["key"].device.type):
            state = put(state, path, attention.in_room(part, tokens, kind))
    return state


def out_of_rooms(block: Block, state: State) -> State:
    """The same state as it is elsewhere."""
    for path, attention in _attentions(block):
        state = put(state, path, attention.out_of_room(get(state, path)))
    return state


def _attentions(block: Block, path: Path = ()) -> Iterator[tuple[Path, Attention]]:
    """The attentions of a block, but for those that run chunk by chunk: a chunk differentiates through the
    keys of the chunks before it in the same segment."""
    if block.chunk_tokens:
        return
    for name in block.stateful:
        part = getattr(block, name)
        if isinstance(part, Attention):
            yield (*path, name), part
    for name in block.blocks:
        part = getattr(block, name)
        for number, copy in enumerate(blocks_of(part)):
            inner = (*path, name, number) if isinstance(part, nn.ModuleList) else (*path, name)
            yield from _attentions(copy, inner)
