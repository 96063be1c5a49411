"""How well a model predicts text it was never trained on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nestdsl.training.arguments import require_model
from nestdsl.training.data import ByteData, read_data
from nestdsl.training.settings import DATA, Settings

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule


def evaluate(
    model: NestModule,
    data: str = DATA,
    *,
    batch: int = Settings.batch,
    tokens: int = Settings.tokens,
    sequences: int = Settings.held_out_sequences,
) -> float:
    """The bits per byte of a model on the held-out part of a text: the mean over `sequences` sequences.

    `data` is a text file, a folder of text files, or "stdlib", the Python source of this machine;
    `sequences` sequences of `tokens` tokens are read, `batch` at a time. With the data and the
    `tokens` of its training, this is what `train` measures. Raises NestError where the data or
    the numbers do not fit, and TypeError for what is no model.

        bits = nestdsl.evaluate(model, "text.txt")
    """
    require_model(model, "evaluate")
    Settings(batch=batch, tokens=tokens, held_out_sequences=sequences).verify()
    read = read_data(data)
    read.verify(tokens, model.plan)
    return held_out_bits_per_byte(model, read, sequences, batch, tokens)


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
