"""HOPE of the package nested-learning, trained and measured as its own loop reads a sequence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.learning.learner import ModuleLearner
from benchmarks.learning.references.frame import count
from benchmarks.nested_learning_steps import hope_model, segment
from nestdsl.training.data.interface import NO_TARGET

PERIODS = (16, 64)
"""Tokens between two steps of its two levels, which have 4× MLPs: a sequence comes in segments of 16."""


class HopeLearner(ModuleLearner):
    """Two passes over each segment, one for gradients and one for updates in context: `segment` has them.

    All rows are read together: memories have a state for each row, the levels one for all of them. A segment
    without targets is read, and what its memories write stays, but its levels do not move. Measuring is done
    in training mode: its levels limit what they add there, and would be other functions elsewhere.
    """

    def __init__(self, module: nn.Module, rate: float, variant: str) -> None:
        super().__init__(module, rate)
        self.variant = variant

    def backward(self, inputs: Tensor, targets: Tensor) -> float:
        return self._read(inputs, targets, backward=True)[0]

    def loss(self, inputs: Tensor, targets: Tensor) -> float:
        return self._read(inputs, targets, backward=False)[0]

    def answers(self, inputs: Tensor) -> Tensor:
        return self._read(inputs, torch.full_like(inputs, NO_TARGET), backward=False)[1].argmax(-1)

    def _read(self, inputs: Tensor, targets: Tensor, *, backward: bool) -> tuple[float, Tensor]:
        """The mean loss over the targets, and all logits."""
        self.module.train()
        state = self.module.init_fast_state()  # pyright: ignore[reportCallIssue]
        cache = self.module.init_attention_cache() if self.variant == "hope_attention" else None  # pyright: ignore[reportCallIssue]
        total, logits = 0.0, []
        tokens, period = inputs.shape[1], min(PERIODS)
        asked = max(1, int((targets != NO_TARGET).sum()))
        for begin in range(0, tokens, period):
            part = slice(begin, begin + period)
            loss, here, cache = segment(
                self.module,
                inputs[:, part],
                targets[:, part],
                state,
                cache,
                is_last=begin + period >= tokens,
                backward=backward,
            )
            total += loss * int((targets[:, part] != NO_TARGET).sum())
            logits.append(here)
        return total / asked, torch.cat(logits, 1)


def hope(variant: str, vocabulary: int, heads: int, layers: int, parameters: int, seed: int) -> nn.Module:
    """The model of as nearly so many parameters as its width allows; drawn from `seed`."""

    def build(size: int) -> nn.Module:
        return hope_model(variant, vocabulary, size, layers, heads, PERIODS)

    size = min(range(8 * heads, 129, heads), key=lambda size: abs(count(build(size)) - parameters))
    torch.manual_seed(seed)
    return build(size)
