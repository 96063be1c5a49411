"""How well a model does on data it was never trained on."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch.nn.functional as F

from nestdsl.diagnostics import fail
from nestdsl.memory import fits_memory
from nestdsl.runtime.memory import reading_bytes, require_memory
from nestdsl.training.arguments import require_model
from nestdsl.training.data.interface import NO_TARGET, Batch, Data, HeldOut
from nestdsl.training.data.sources import read_data
from nestdsl.training.figures import EXACT, Figures, words
from nestdsl.training.settings import DATA, Settings, sequence_tokens

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule


Watch = Callable[[str, int, int], None]
"""Told what is measured, and how many of how many batches of it are done."""


def evaluate(
    model: NestModule,
    data: str | os.PathLike[str] = DATA,
    *,
    batch: int = Settings.batch,
    tokens: int | None = None,
    sequences: int | None = Settings.held_out_sequences,
) -> float:
    """The held-out loss of a model on a source of data: of text, its bits per byte.

    This is the first of the figures that `measure` gives; see there.

        bits = nestdsl.evaluate(model, "text.txt")
    """
    require_model(model, "evaluate")
    return next(iter(measure(model, data, batch=batch, tokens=tokens, sequences=sequences).values()))


def measure(
    model: NestModule,
    data: str | os.PathLike[str] = DATA,
    *,
    batch: int = Settings.batch,
    tokens: int | None = None,
    sequences: int | None = Settings.held_out_sequences,
) -> Figures:
    """All figures of a model on the held-out parts of some data, by name.

    `data` is a text file, a folder of text files, "stdlib", the Python source of this machine, or
    "task:NAME"; of each part up to `sequences` sequences (None: all) of `tokens` tokens (None: as
    in training) are read, `batch` at a time. With the data and the `tokens` of its training, this
    is what `train` measures. Raises NestError where the data or the numbers do not fit, and N0104
    for an argument of another type.

        figures = nestdsl.measure(model, "task:parity", sequences=None)
        figures["bin1_exact_match"]
    """
    require_model(model, "measure")
    Settings(
        batch=batch,
        tokens=1 if tokens is None else tokens,
        held_out_sequences=1 if sequences is None else sequences,
    ).verify()
    read = read_data(data)
    length = sequence_tokens(tokens, read.tokens, read.source)
    read.verify(length, model.plan)
    return finite(held_out_figures(model, read, sequences, batch, length))


def held_out_figures(
    model: NestModule,
    data: Data,
    sequences: int | None,
    batch: int,
    tokens: int,
    watch: Watch = lambda part, done, of: None,
) -> Figures:
    """The loss on each held-out part and, where the data counts them, its exact matches in percent.

    Each sequence starts from the initial state; but of a model that carries state along a stream
    (`reset never`) each row reads sequences that follow one another. Nothing is trained, and nothing
    is dropped out. Levels that learn from surprise in context learn on the way for the loss, but see no label
    before they are asked for an exact match. `watch` is told of each batch. Raises NestError N0503 where
    that does not fit into memory.
    """
    was_training = model.training
    model.eval()
    try:
        with fits_memory(_what(batch, tokens), _SMALLER):
            return _figures(model, data, sequences, batch, tokens, watch)
    finally:
        model.train(was_training)


UNUSABLE = "its weights are of no use: take an earlier checkpoint, or train again with a lower learning rate"


def finite(figures: Figures, when: str = "", hint: str = UNUSABLE) -> Figures:
    """The same figures. Raises NestError N0505 where one is not finite; `when` follows the number."""
    for name, value in figures.items():
        if not math.isfinite(value):
            raise fail("N0505", f"the {words(name)} is {value}{when}", hint)
    return figures


_SMALLER = "measure shorter sequences, or fewer at a time"


def _what(batch: int, tokens: int) -> str:
    return f"measuring {batch:,} sequences of {tokens:,} tokens at a time"


def _require_memory(model: NestModule, rows: int, tokens: int) -> None:
    """Raises NestError N0503 if not even the least that a batch needs is free."""
    device = next(model.parameters()).device
    require_memory(reading_bytes(model.plan, rows, tokens), device, _what(rows, tokens), _SMALLER)


def _figures(
    model: NestModule, data: Data, sequences: int | None, batch: int, tokens: int, watch: Watch
) -> Figures:
    if model.carries_state():
        return _stream_figures(model, data, sequences, batch, tokens, watch)
    figures: dict[str, float] = {}
    # Not under no_grad: for that mode the model would be compiled a second time.
    for part in data.held_out(sequences, tokens):
        is_filled_up = not part.targets.is_floating_point()
        rows = batch if is_filled_up else min(batch, len(part.inputs))
        _require_memory(model, rows, part.inputs.shape[1])
        figures[f"{part.name}_{data.unit.name}"] = _loss(model, part, batch, watch) * data.unit.scale
        if data.is_exact:
            figures[f"{part.name}_{EXACT}"] = 100 * _exact_matches(model, part, batch, watch)
    return figures


def _loss(model: NestModule, part: HeldOut, batch: int, watch: Watch) -> float:
    """The mean of the model's loss over all targets."""
    device = next(model.parameters()).device
    total, count = 0.0, 0
    batches = _batches(part, batch)
    for number, (inputs, targets) in enumerate(batches):
        watch(f"the loss on {words(part.name)}", number, len(batches))
        targets = targets.to(device)
        here = int((targets != NO_TARGET).sum())
        total += float(model.loss(inputs.to(device), targets).detach()) * here
        count += here
    return total / count


def _stream_figures(
    model: NestModule, data: Data, sequences: int | None, batch: int, tokens: int, watch: Watch
) -> Figures:
    """The loss on about so many sequences, in rows that walk through text."""
    device = next(model.parameters()).device
    figures: dict[str, float] = {}
    for few in data.held_out(sequences, tokens):
        rows = min(batch, len(few.inputs))
        steps = len(few.inputs) // rows
        parts = {part.name: part for part in data.held_out(rows, steps * tokens)}
        while len(parts[few.name].inputs) < rows:  # what lies between the places is too short
            steps -= 1
            parts = {part.name: part for part in data.held_out(rows, steps * tokens)}
        _require_memory(model, rows, tokens)
        state, losses = None, []
        part = parts[few.name]
        pairs = zip(part.inputs.split(tokens, 1), part.targets.split(tokens, 1), strict=True)
        for number, (inputs, targets) in enumerate(pairs):
            watch(f"the loss on {words(part.name)}", number, steps)
            loss, state = model.stream_loss(inputs.to(device), targets.to(device), state)
            losses.append(float(loss.detach()))
        figures[f"{few.name}_{data.unit.name}"] = sum(losses) / len(losses) * data.unit.scale
    return figures


def _exact_matches(model: NestModule, part: HeldOut, batch: int, watch: Watch) -> float:
    """The share of sequences of which the likeliest label is right wherever there is one."""
    device = next(model.parameters()).device
    right = 0
    batches = _batches(part, batch)
    for number, (inputs, targets) in enumerate(batches):
        watch(f"exact matches on {words(part.name)}", number, len(batches))
        outputs, _ = model(inputs.to(device))
        targets = targets.to(device)
        is_right = (outputs.detach().argmax(-1) == targets) | (targets == NO_TARGET)
        right += int((is_right.all(-1) & (targets != NO_TARGET).any(-1)).sum())
    return right / len(part.inputs)


def _batches(part: HeldOut, batch: int) -> list[Batch]:
    """The sequences, `batch` at a time. Where targets can be left out, a short last batch is filled up
    with rows that have none: the model is not compiled once more for another shape."""
    inputs, targets = part.inputs, part.targets
    missing = -len(inputs) % batch
    if missing and not targets.is_floating_point():
        inputs = F.pad(inputs, (0, 0, 0, missing))
        targets = F.pad(targets, (0, 0, 0, missing), value=NO_TARGET)
    return list(zip(inputs.split(batch), targets.split(batch), strict=True))
