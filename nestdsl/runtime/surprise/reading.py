"""Learning while reading: the levels learn from tokens as they come, as they do in training.

The label of a token is the token after it, so the last token read has none yet. The tokens since
the last segment boundary wait in the state, with the state at that boundary: once a segment is
full and one more token has come, the segment is read again with its labels, the levels learn,
and reading goes on with the new weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nestdsl.diagnostics import fail
from nestdsl.runtime.block import State
from nestdsl.runtime.surprise.cut import CutLearner
from nestdsl.runtime.surprise.levels import PlasticLevel, get, put, segment_tokens

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule

WAITING = "waiting"
"""The key of a state under which the tokens of an unfinished segment wait."""


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
    segment = segment_tokens(levels)
    state = {**state}
    waiting = state.pop(WAITING, None) or {"ids": ids[:, :0], "start": state}
    outputs: list[Tensor] = []
    with torch.no_grad():
        while ids.shape[1]:
            room = segment - waiting["ids"].shape[1]
            if room == 0:
                labels = torch.cat((waiting["ids"][:, 1:], ids[:, :1]), dim=1)
                state = _learned(model, waiting["ids"], labels, waiting["start"], state, levels)
                waiting, room = {"ids": ids[:, :0], "start": state}, segment
            y, state = model.go_on(ids[:, :room], state)
            outputs.append(y)
            waiting = {"ids": torch.cat((waiting["ids"], ids[:, :room]), dim=1), "start": waiting["start"]}
            ids = ids[:, room:]
    return torch.cat(outputs, dim=1), {**state, WAITING: waiting}


def _learned(
    model: NestModule, ids: Tensor, labels: Tensor, start: State, state: State, levels: list[PlasticLevel]
) -> State:
    """The state after a segment, with the weights that the levels have learned from it."""
    learner = CutLearner(model, levels, start, ids.shape[0], None, {})
    learner.segment(ids, labels, learner.begin(start))
    for level, learned in zip(levels, learner.states(), strict=True):
        state = put(state, level.path, {**get(state, level.path), **learned})
    return state
