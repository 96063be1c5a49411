"""What contenders learn: bytes of Python source, and the recall of pairs of a key and a value."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from nestdsl.training.data import NO_TARGET, Batch, Data, mixed_seed, read_data

PAIRS, SYMBOLS, FILLERS = 8, 32, 16
"""Pairs of a sequence; keys there are, and as many values; symbols that stand between."""

FAR = 512
"""Tokens between a pair and the key that asks for it, in the recall from far back."""


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

    @property
    def shows_labels(self) -> bool:
        """Whether the label of a token is the next one, so that levels may learn from it while they read."""
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
    shows_labels: bool = True

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
    `before` more fillers stand around it all, a random number of them in front. With `every_token` each
    token has the next one as its target, as in text, so that levels that learn from surprise are told of
    the pair when it is shown; `held_out` asks for the values alone all the same.
    """

    pairs: int = PAIRS
    filler: int = 0
    before: int = 0
    every_token: bool = False
    sequences: int = 32
    held_out_sequences: int = 256
    vocabulary: int = 2 * SYMBOLS + FILLERS
    counts_answers: bool = True

    @property
    def shows_labels(self) -> bool:
        return self.every_token

    @property
    def tokens(self) -> int:
        return 4 * self.pairs + self.filler + self.before

    def batch(self, step: int, seed: int) -> Batch:
        generator = torch.Generator().manual_seed(mixed_seed(seed, step, "recall"))
        inputs, asked = self._drawn(self.sequences, generator)
        if not self.every_token:
            return inputs, asked
        return inputs, torch.nn.functional.pad(inputs[:, 1:], (0, 1), value=NO_TARGET)

    def held_out(self) -> tuple[Batch, ...]:
        generator = torch.Generator().manual_seed(mixed_seed(0, 0, "held-out recall"))
        return _batches(*self._drawn(self.held_out_sequences, generator), self.sequences)

    def _drawn(self, count: int, generator: torch.Generator) -> Batch:
        """Sequences and the answers that are asked for, each [count, tokens]."""
        keys = torch.rand(count, SYMBOLS, generator=generator).argsort(1)[:, : self.pairs]
        values = SYMBOLS + torch.randint(SYMBOLS, (count, self.pairs), generator=generator)
        order = torch.rand(count, self.pairs, generator=generator).argsort(1)
        fillers = 2 * SYMBOLS + torch.randint(
            FILLERS, (count, self.filler + self.before), generator=generator
        )
        shown = torch.stack((keys, values), -1).flatten(1)
        again = torch.stack((keys.gather(1, order), values.gather(1, order)), -1).flatten(1)
        between, around = fillers.split((self.filler, self.before), 1)
        core = torch.cat((shown, between, again), 1)
        asked = torch.full_like(core, NO_TARGET)
        asked[:, -2 * self.pairs :: 2] = values.gather(1, order)
        front = torch.randint(self.before + 1, (count, 1), generator=generator)
        place = (torch.arange(self.tokens) - front) % self.tokens  # of the core, then of what is around it
        sequences = torch.cat((core, around), 1).gather(1, place)
        nothing = torch.full_like(around, NO_TARGET)
        return sequences, torch.cat((asked, nothing), 1).gather(1, place)


def far_recall(*, every_token: bool = False) -> Recall:
    """One pair among filler, asked for again `FAR` tokens later."""
    return Recall(1, FAR - 2, 12, every_token, sequences=8, held_out_sequences=64)


@cache
def _text(source: str) -> Data:
    return read_data(source)


def _batches(inputs: Tensor, targets: Tensor, size: int) -> tuple[Batch, ...]:
    return tuple(zip(inputs.split(size), targets.split(size), strict=True))
