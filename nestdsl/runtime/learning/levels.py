"""The levels of a model that learn from surprise in context, their places in its state, and their loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestdsl.runtime.block import Block, blocks_of, blocks_within
from nestdsl.runtime.functions import at_least_float32
from nestdsl.runtime.kinds.attention import Attention
from nestdsl.runtime.learning.plastic import Plastic
from nestdsl.runtime.state import Path, State, get


@dataclass(frozen=True, slots=True)
class PlasticLevel:
    """A level that learns from surprise in context, and where its state stands in the model's.

    `parent` is where the state of the level stands from which it starts, if that learns so too;
    `carried` is whether its own goes on from one sequence of a stream to the next.
    """

    path: Path
    layer: Plastic
    parent: Path | None
    carried: bool


def plastic_levels(block: Block, path: Path = ()) -> Iterator[PlasticLevel]:
    """All levels of a model that learn from surprise in context, each after its parent."""
    stateful, carried = block.program.stateful, block.program.carried
    names = {part: name for name in stateful if isinstance(part := getattr(block, name), Plastic)}
    for part in sorted(names, key=_ancestors):
        parent = names.get(part.parent[0]) if part.parent else None  # type: ignore[call-overload]
        above = None if parent is None else (*path, parent)
        yield PlasticLevel((*path, names[part]), part, above, names[part] in carried)
    for inner, copy in blocks_within(block, path):
        yield from plastic_levels(copy, inner)


def bare_state(block: Block, batch: int, device: torch.device, dtype: torch.dtype) -> State:
    """The state at the start of a context without what weights say: levels that have some make their start
    when they are called."""
    state: State = {}
    for name in block.program.stateful:
        level = getattr(block, name)
        if isinstance(level, Plastic):
            state[name] = {}
        elif isinstance(level, Attention):
            state[name] = level.init_state(batch, device=device, dtype=dtype)
    for name in block.program.blocks:
        part = getattr(block, name)
        copies = [bare_state(copy, batch, device, dtype) for copy in blocks_of(part)]
        state[name] = copies if isinstance(part, nn.ModuleList) else copies[0]
    return state


def _ancestors(layer: nn.Module) -> int:
    """How many levels a level starts from, one through the other."""
    return 1 + _ancestors(layer.parent[0]) if isinstance(layer, Plastic) and layer.parent else 0


def segments(levels: list[PlasticLevel], state: State, tokens: int) -> list[int]:
    """How many tokens each segment has: one ends wherever a level's period does, and with the tokens."""
    reads = [(level.layer.period, tokens_read(get(state, level.path))) for level in levels]
    found: list[int] = []
    done = 0
    while done < tokens:
        to_end = min(period - (read + done) % period for period, read in reads)
        found.append(min(to_end, tokens - done))
        done += found[-1]
    return found


def tokens_read(part: State) -> int:
    """How many tokens of its period a level has read, of whose state this is the part: the same for all rows,
    which `groups.py` sees to."""
    return int(part["read"][0]) if "read" in part else 0


def loss_sum(outputs: Tensor, targets: Tensor, objective: str) -> Tensor:
    """The sum over rows and tokens of the loss of each token, in float32 at least, whatever the outputs are:
    in bfloat16 a loss has two or three digits."""
    outputs = at_least_float32(outputs)
    if objective == "cross_entropy":
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="sum")
    return (outputs - targets).square().mean(-1).sum()


def target_count(targets: Tensor) -> Tensor | int:
    """How many targets there are: a mean loss is their sum divided by it."""
    return (targets != -100).sum() if not targets.is_floating_point() else targets.shape[0] * targets.shape[1]
