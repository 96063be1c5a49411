"""How well a model predicts text it was never trained on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nestdsl.training.data import ByteData

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule


def held_out_bits_per_byte(
    model: NestModule, data: ByteData, sequences: int, batch: int, tokens: int
) -> float:
    """The mean bits per byte on up to `sequences` held-out sequences, `batch` at a time.

    Each sequence starts from the initial state. Nothing is trained, and nothing is dropped out.
    """
    inputs, targets = data.held_out_sequences(sequences, tokens)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    total = 0.0
    try:
        # Not under no_grad: for that mode the model would be compiled a second time.
        for input_part, target_part in zip(inputs.split(batch), targets.split(batch), strict=True):
            loss = model.loss(input_part.to(device), target_part.to(device))
            total += float(loss.detach()) * len(input_part)
    finally:
        model.train(was_training)
    return total / len(inputs) / math.log(2)
