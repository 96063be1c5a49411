"""Learning while reading: the levels learn from tokens as they come, as they do in training.

The label of a token is the token after it, so the last token read has none yet. The tokens since
the last segment boundary wait in the state, with the state at that boundary: once a segment is
full and one more token has come, the segment is read again with its labels, the levels learn,
and reading goes on with the new weights. Where a sequence of a stream has ended, its last token's
label is the first one of the next sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nestdsl.diagnostics import fail
from nestdsl.runtime.block import State
from nestdsl.runtime.streams import from_parents
from nestdsl.runtime.surprise.cut import CutLearner
from nestdsl.runtime.surprise.levels import Path, PlasticLevel, get, put, segments

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule

WAITING = "waiting"
"""The key of a state under which the tokens of an unfinished segment wait."""
ENDED = "ended"
"""Among these: that they are all of their sequence, and another one begins."""


def read_and_learn(
    model: NestModule, ids: Tensor, state: State, levels: list[PlasticLevel]
) -> tuple[Tensor, State]:
    """Outputs for ids [batch, tokens], each from weights that have learned from all before it.

    No gradient is kept: the outer levels learn through `loss`.
    """
    if model.plan.input.takes != "ids":
        raise fail(
            "N0501",
            "a model of vectors cannot learn while it reads: what it should predict is not in its input",
            "use `loss(inputs, targets)`, or read without `learn`",
        )
    state = {**state}
    waiting = state.pop(WAITING, None) or {"ids": ids[:, :0], "start": state}
    outputs: list[Tensor] = []
    with torch.no_grad():
        while ids.shape[1]:
            ended = waiting.get(ENDED, False)
            room = _to_end(levels, waiting["start"]) - waiting["ids"].shape[1]
            if room == 0 or ended:
                labels = torch.cat((waiting["ids"][:, 1:], ids[:, :1]), dim=1)
                learned = _learned(model, waiting["ids"], labels, waiting["start"], levels)
                state = _taken_up(state, learned, [level for level in levels if level.carried or not ended])
                state = from_parents(levels, state) if ended else state
                waiting = {"ids": ids[:, :0], "start": state}
                room = _to_end(levels, state)
            y, state = model.go_on(ids[:, :room], state)
            outputs.append(y)
            waiting = {"ids": torch.cat((waiting["ids"], ids[:, :room]), dim=1), "start": waiting["start"]}
            ids = ids[:, room:]
    return torch.cat(outputs, dim=1), {**state, WAITING: waiting}


def at_end(state: State, following: State) -> State:
    """The state in which the next sequence of a stream starts, while the last one's tokens still wait."""
    waiting = state.get(WAITING)
    if waiting is None or not waiting["ids"].shape[1]:
        return following
    return {**following, WAITING: {**waiting, ENDED: True}}


def _to_end(levels: list[PlasticLevel], state: State) -> int:
    """The tokens of a segment that begins in a state."""
    return segments(levels, state, max(level.layer.period for level in levels))[0]


def _learned(
    model: NestModule, ids: Tensor, labels: Tensor, start: State, levels: list[PlasticLevel]
) -> dict[Path, State]:
    """What the levels have learned from a segment."""
    learner = CutLearner(model, levels, start, ids.shape[0], None, {})
    learner.segment(ids, labels, learner.begin(start))
    return {level.path: part for level, part in zip(levels, learner.states(), strict=True)}


def _taken_up(state: State, learned: dict[Path, State], levels: list[PlasticLevel]) -> State:
    """The state with what these levels have learned."""
    for level in levels:
        state = put(state, level.path, {**get(state, level.path), **learned[level.path]})
    return state
