"""Whether a state is one of a model, for as many rows as its input has: N0501 if not."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from nestdsl.diagnostics import NestError, fail
from nestdsl.runtime.block import Block
from nestdsl.runtime.kinds.attention import Attention
from nestdsl.runtime.learning.plastic import Plastic
from nestdsl.runtime.learning.reading import WAITING
from nestdsl.runtime.state import Path


def verify_state(block: Block, state: object, batch: int, path: Path = ()) -> None:
    """Raises NestError N0501 unless a state has the parts of the block, each for `batch` rows.

    Sizes of single tensors are those of `explain_state`, for this is asked before every pass.
    """
    if not isinstance(state, dict):
        raise _odd(path, f"is {_kind(state)}, and should be a dict")
    kept = block.program.kept
    if state.keys() != set(kept) and state.keys() - {WAITING} != set(kept):
        missing = next((name for name in kept if name not in state), None)
        what = (
            f"has no `{missing}`" if missing else f"has `{next(iter(state.keys() - set(kept)))}`, which is no"
        )
        raise _odd(path, what if missing else f"{what} part of this model")
    for name in kept:
        part, inner = getattr(block, name, None), state[name]
        if isinstance(part, Block):
            verify_state(part, inner, batch, (*path, name))
        elif isinstance(part, nn.ModuleList):
            if not isinstance(inner, list) or len(inner) != len(part):
                raise _odd((*path, name), f"is {_kind(inner)}, and should be a list of {len(part)}")
            for number, copy in enumerate(part):
                verify_state(copy, inner[number], batch, (*path, name, number))  # type: ignore[arg-type]
        else:
            _verify_rows(inner, batch, (*path, name))


def explain_state(block: Block, state: dict[str, Any], like: dict[str, Any], path: Path = ()) -> None:
    """Raises NestError N0501 where a part of a state has other tensors than `like`, a state of this model."""
    for name, part in like.items():
        module, own = getattr(block, name, None), state[name]
        if isinstance(module, Block):
            explain_state(module, own, part, (*path, name))
        elif isinstance(module, nn.ModuleList):
            for number, copy in enumerate(module):
                explain_state(copy, own[number], part[number], (*path, name, number))  # type: ignore[arg-type]
        elif not isinstance(module, Plastic):
            _compare(own, part, (*path, name), grows=isinstance(module, Attention))


def _compare(own: Any, like: Any, path: Path, *, grows: bool) -> None:
    if isinstance(like, Tensor):
        places = slice(2, None) if grows else slice(1, None)
        if own.shape[places] != like.shape[places] or own.ndim != like.ndim:
            raise _odd(path, f"has the shape {list(own.shape)}, and should have {list(like.shape)}")
        return
    if not isinstance(own, dict) or not own.keys() >= like.keys():
        raise _odd(path, f"should have the tensors {', '.join(like)}")
    for name, part in like.items():
        _compare(own[name], part, (*path, name), grows=grows)


def _verify_rows(part: Any, batch: int, path: Path) -> None:
    if isinstance(part, dict):
        for name, inner in part.items():
            _verify_rows(inner, batch, (*path, name))
    elif not isinstance(part, Tensor):
        if hasattr(part, "pairs"):  # a cache with room (`kv_buffers.py`)
            return
        raise _odd(path, f"is {_kind(part)}, and should be a tensor")
    elif part.ndim == 0 or part.shape[0] != batch:
        rows = f"{part.shape[0]} rows" if part.ndim else "no rows"
        raise _odd(path, f"has {rows}, and the input has {batch}")


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} `{name}`"


def _odd(path: Path, what: str) -> NestError:
    place = f"`{'.'.join(map(str, path))}` of the state" if path else "the state"
    hint = "give the state that the pass before has returned, or none to begin a context"
    return fail("N0501", f"{place} {what}", hint)
