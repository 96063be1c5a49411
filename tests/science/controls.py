"""Controls of what memories and levels in context are worth, on text that was never trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from nestdsl.runtime.module import NestModule
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.training.data.text import ByteData


def trained(model: NestModule, data: ByteData, steps: int, batch: int, tokens: int) -> NestModule:
    """The model after `steps` optimizer steps at constant rates."""
    levels = StepLevels(model)
    for number in range(1, steps + 1):
        inputs, targets = data.batch(number, 0, batch, tokens)
        model.loss(inputs, targets).backward()
        levels.step(number, clip=1.0)
    return model


def held_out(model: NestModule, data: ByteData, sequences: int, tokens: int, batch: int = 16) -> float:
    """Bits per byte, with all levels learning in context as they do in training."""
    (part,) = data.held_out(sequences, tokens)
    inputs, targets = part.inputs, part.targets
    parts = zip(inputs.split(batch), targets.split(batch), strict=True)
    total = sum(float(model.loss(x, y).detach()) * len(x) for x, y in parts)
    return total / len(inputs) / math.log(2)


def by_context(
    model: NestModule,
    data: ByteData,
    sequences: int,
    tokens: int,
    scored: int,
    last_tokens: int,
    learn: bool = False,
) -> Mapping[str, float]:
    """Bits per byte of `scored` tokens, after contexts of `tokens` of which only the last tokens are equal.

    intact: the context as it is; shuffled: its tokens in another order; other: the context of another
    sequence; none: nothing but the last tokens, which every control leaves as they are: they are what
    convolutions see, and the words at hand. learn: levels that learn from surprise in context do so, in
    contexts and after; memories always learn.
    """
    (part,) = data.held_out(sequences, tokens + scored)
    inputs, targets = part.inputs, part.targets
    context, last = inputs[:, : tokens - last_tokens], inputs[:, tokens - last_tokens : tokens]
    order = torch.randperm(context.shape[1], generator=torch.Generator().manual_seed(0))
    contexts = {
        "intact": context,
        "shuffled": context[:, order],
        "other": context.roll(1, 0),
        "none": context[:, :0],
    }
    with torch.no_grad():
        return {
            name: _bits(model, torch.cat((before, last), 1), inputs[:, tokens:], targets[:, tokens:], learn)
            for name, before in contexts.items()
        }


def _bits(model: NestModule, context: Tensor, inputs: Tensor, targets: Tensor, learn: bool) -> float:
    _, state = model(context, learn=learn)
    outputs, _ = model(inputs, state, learn=learn)
    return float(F.cross_entropy(outputs.flatten(0, 1), targets.flatten())) / math.log(2)
