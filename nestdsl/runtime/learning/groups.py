"""Rows that stand at different places of a level's period: each group of rows that stand alike is read by
itself, since a level moves all its rows at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from nestdsl.runtime.learning.levels import PlasticLevel
from nestdsl.runtime.optimizer.memories import STEP_COUNT
from nestdsl.runtime.state import State, get


def groups(levels: list[PlasticLevel], state: State) -> list[Tensor]:
    """The numbers of the rows, those together that have read as much of each period and moved as often; one
    group, empty, if all of them have."""
    counts = [count for level in levels for count in _counts(get(state, level.path))]
    if not counts or all(bool((count == count[0]).all()) for count in counts):
        return []
    found: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for row, key in enumerate(zip(*(count.tolist() for count in counts), strict=True)):
        found[key].append(row)
    return [torch.tensor(rows) for rows in found.values()]


def _counts(part: Any) -> Iterator[Tensor]:
    """The whole numbers of a level's state by which its rows may differ."""
    if "read" in part:
        yield part["read"]
        for memory in part["memories"].values():
            if STEP_COUNT in memory:
                yield memory[STEP_COUNT]
