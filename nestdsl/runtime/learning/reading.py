"""Learning while reading: the levels learn from tokens as they come, as they do in training.

The label of a token is the token after it, so the last token read has none yet. The tokens since
the last segment boundary wait in the state, with the state at that boundary: once a segment is
full and one more token has come, the segment is read again with its labels, the levels learn,
and reading goes on with the new weights. Where a sequence of a stream has ended, its last token's
label is the first one of the next sequence.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nestdsl.runtime.block import Pass
from nestdsl.runtime.learning.cut import CutLearner
from nestdsl.runtime.learning.levels import PlasticLevel, segments
from nestdsl.runtime.learning.reader import Reader
from nestdsl.runtime.state import Path, State, get, put
from nestdsl.runtime.streams import from_parents

WAITING = "waiting"
"""The key of a state under which the tokens of an unfinished segment wait."""
ENDED = "ended"
"""Among these: that they are all of their sequence, and another one begins."""


def read_and_learn(reader: Reader, go_on: Callable[[Tensor, State], Pass], ids: Tensor, state: State) -> Pass:
    """Outputs for ids [batch, tokens], each from weights that have learned from all before it.

    go_on: reads without learning. No gradient is kept: the outer levels learn through `loss`.
    """
    levels = reader.levels
    state = {**state}
    waiting = state.pop(WAITING, None) or {"ids": ids[:, :0], "start": state}
    outputs: list[Tensor] = []
    with torch.no_grad():
        while ids.shape[1]:
            ended = ENDED in waiting
            room = _to_end(levels, waiting["start"]) - waiting["ids"].shape[1]
            if room == 0 or ended:
                labels = torch.cat((waiting["ids"][:, 1:], ids[:, :1]), dim=1)
                learned = _learned(reader, waiting["ids"], labels, waiting["start"])
                state = _taken_up(state, learned, [level for level in levels if level.carried or not ended])
                state = from_parents(levels, state) if ended else state
                waiting = {"ids": ids[:, :0], "start": state}
                room = _to_end(levels, state)
            y, state = go_on(ids[:, :room], state)
            outputs.append(y)
            waiting = {"ids": torch.cat((waiting["ids"], ids[:, :room]), dim=1), "start": waiting["start"]}
            ids = ids[:, room:]
    return torch.cat(outputs, dim=1), {**state, WAITING: waiting}


def at_end(state: State, following: State) -> State:
    """The state in which the next sequence of a stream starts, while the last one's tokens still wait."""
    waiting = state.get(WAITING)
    if waiting is None or not waiting["ids"].shape[1]:
        return following
    return {**following, WAITING: {**waiting, ENDED: torch.ones(len(waiting["ids"]), dtype=torch.bool)}}


def _to_end(levels: list[PlasticLevel], state: State) -> int:
    """The tokens of a segment that begins in a state."""
    return segments(levels, state, max(level.layer.period for level in levels))[0]


def _learned(reader: Reader, ids: Tensor, labels: Tensor, start: State) -> dict[Path, State]:
    """What the levels have learned from a segment."""
    learner = CutLearner(reader, start, ids.shape[0], None, outer=False)
    learner.segment(ids, labels, learner.begin(start))
    return {level.path: part for level, part in zip(reader.levels, learner.states(), strict=True)}


def _taken_up(state: State, learned: dict[Path, State], levels: list[PlasticLevel]) -> State:
    """The state with what these levels have learned."""
    for level in levels:
        state = put(state, level.path, {**get(state, level.path), **learned[level.path]})
    return state
