"""What contenders learn: bytes of Python source, and the recall of pairs of a key and a value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from nestdsl.training.data.interface import NO_TARGET, Batch, Data, mixed_seed
from nestdsl.training.data.sources import read_data

PAIRS, SYMBOLS, FILLERS = 8, 32, 16
"""Pairs of a sequence; keys there are, and as many values; symbols that stand between."""

FAR = 512
"""Fillers between the pairs and the questions, in the recall from far back."""


class Task(Protocol):
    """Sequences to learn from, always the same ones for a seed and a step, and held-out ones."""

    @property
    def vocabulary(self) -> int:
        """The ids there are; a target is one of them."""
        ...

    @property
    def sequences(self) -> int:
        """Those of one step."""
        ...

    @property
    def counts_answers(self) -> bool:
        """Whether the share of right answers counts; else it is the loss, in bits per byte."""
        ...

    def batch(self, step: int, seed: int) -> Batch:
        """Inputs and targets of a step, each [sequences, tokens]; -100 where nothing is asked."""
        ...

    def held_out(self) -> tuple[Batch, ...]:
        """Inputs and targets that no step sees, in batches as large as those of a step."""
        ...


@dataclass(frozen=True, slots=True)
class Bytes:
    """Each byte of a text predicts the next one: bits per byte on held-out files."""

    source: str = "stdlib"
    sequences: int = 8
    tokens: int = 128
    held_out_sequences: int = 32
    vocabulary: int = 256
    counts_answers: bool = False

    def batch(self, step: int, seed: int) -> Batch:
        return _text(self.source).batch(step, seed, self.sequences, self.tokens)

    def held_out(self) -> tuple[Batch, ...]:
        (part,) = _text(self.source).held_out(self.held_out_sequences, self.tokens)
        return _batches(part.inputs, part.targets, self.sequences)


@dataclass(frozen=True, slots=True)
class Recall:
    """Pairs, then filler, then each key again in another order with its value after it.

    The target stands at the second appearance of a key, and is its value; nothing else is asked. Keys of a
    sequence are distinct, values are drawn each by itself. Ids: keys, then values, then fillers.
    `varied`: a step has between 1 and `filler` fillers, as often 1 to 2 as half of them to all; what is held
    out has all of them.
    """

    pairs: int = PAIRS
    filler: int = 0
    varied: bool = False
    sequences: int = 32
    held_out_sequences: int = 256
    vocabulary: int = 2 * SYMBOLS + FILLERS
    counts_answers: bool = True

    def batch(self, step: int, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(mixed_seed(seed, step, "recall"))
        filler = self.filler
        if self.varied:
            filler = round(self.filler ** float(torch.rand((), generator=generator)))
        return self._drawn(self.sequences, filler, generator)

    def held_out(self) -> tuple[Batch, ...]:
        generator = torch.Generator().manual_seed(mixed_seed(0, 0, "held-out recall"))
        return _batches(*self._drawn(self.held_out_sequences, self.filler, generator), self.sequences)

    def _drawn(self, count: int, filler: int, generator: torch.Generator) -> Batch:
        """Sequences and the answers that are asked for, each [count, 4 * pairs + filler]."""
        keys = torch.rand(count, SYMBOLS, generator=generator).argsort(1)[:, : self.pairs]
        values = SYMBOLS + torch.randint(SYMBOLS, (count, self.pairs), generator=generator)
        order = torch.rand(count, self.pairs, generator=generator).argsort(1)
        between = 2 * SYMBOLS + torch.randint(FILLERS, (count, filler), generator=generator)
        shown = torch.stack((keys, values), -1).flatten(1)
        again = torch.stack((keys.gather(1, order), values.gather(1, order)), -1).flatten(1)
        sequences = torch.cat((shown, between, again), 1)
        asked = torch.full_like(sequences, NO_TARGET)
        asked[:, -2 * self.pairs :: 2] = values.gather(1, order)
        return sequences, asked


@cache
def _text(source: str) -> Data:
    return read_data(source)


def _batches(inputs: Tensor, targets: Tensor, size: int) -> tuple[Batch, ...]:
    return tuple(zip(inputs.split(size), targets.split(size), strict=True))
