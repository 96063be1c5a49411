"""What is carried along a stream, as tensors by name, so that it can be saved and taken up again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from nestdsl.runtime.block import Block, blocks_within
from nestdsl.runtime.learning.levels import plastic_levels
from nestdsl.runtime.likeness import difference
from nestdsl.runtime.state import POSITION, Path, State, get, put
from nestdsl.runtime.streams import from_parents

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule


def stream_tensors(model: NestModule, state: State) -> dict[str, Tensor]:
    """The state of all levels that go on, by path: `stack/0/memory/matrix`."""
    return {
        name: value.clone()
        for path in _carried(model)
        for name, value in _flat("/".join(map(str, path)), get(state, path))
    }


def stream_state(model: NestModule, batch: int, tensors: Mapping[str, Tensor]) -> State:
    """The state that gave these tensors, for `batch` rows. Raises ValueError if a part is missing or odd."""
    fresh = model.init_state(batch)
    state = fresh
    for level in plastic_levels(model):
        if level.carried:
            layer = get(fresh, level.path)
            state = put(state, level.path, {**layer, **level.layer.start(batch)})
    unread = dict(tensors)
    for path in _carried(model):
        name = "/".join(map(str, path))
        state = put(state, path, _filled(name, get(state, path), unread))
    if unread:
        raise ValueError(f"{next(iter(unread))!a} is of no level")
    return from_parents(list(plastic_levels(model)), model.detach_state(state))


def _carried(block: Block, path: Path = ()) -> Iterator[Path]:
    """The places in a state of all that goes on."""
    yield from ((*path, name) for name in block.program.carried)
    if block.program.carried and block.program.chunk_tokens:
        yield (*path, POSITION)
    for inner, copy in blocks_within(block, path):
        yield from _carried(copy, inner)


def _flat(name: str, part: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(part, dict):
        for key, value in part.items():
            yield from _flat(f"{name}/{key}", value)
    else:
        yield name, part


def _filled(name: str, like: Any, tensors: dict[str, Tensor]) -> Any:
    """A part with the values of the tensors, which are taken out; shapes and kinds are those of `like`."""
    if isinstance(like, dict):
        return {key: _filled(f"{name}/{key}", value, tensors) for key, value in like.items()}
    if name not in tensors:
        raise ValueError(f"`{name}` is missing")
    value = tensors.pop(name)
    if found := difference(name, value, like):
        raise ValueError(found)
    return value.to(like.device)
