"""Synthetic tasks as data: `task:NAME` on the command line."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import torch

from nestdsl.diagnostics import fail
from nestdsl.plan.cost import BYTES
from nestdsl.plan.plan import Plan
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.tasks.languages import LANGUAGES, Language, Strings, draw_strings
from nestdsl.tasks.rotations import RULE, SIZE, draw_rotations
from nestdsl.tasks.strings import String
from nestdsl.training.data import (
    NO_TARGET,
    TASK,
    Batch,
    Data,
    HeldOut,
    mixed_seed,
    no_stream,
    require_sequences,
    spare_ids,
)
from nestdsl.training.figures import Unit

BITS_PER_LABEL = Unit("bits_per_label", "bits per label", "bits/label", 1 / math.log(2))
SQUARED_ERROR = Unit("squared_error", "squared error", "error", 1.0)

ROTATIONS = "rotations"
TASKS = (*(language.name for language in LANGUAGES), ROTATIONS)


def read_task(source: str) -> Data:
    """The data of `task:NAME`. Raises NestError N0501 if there is no such task."""
    name = source.removeprefix(TASK)
    if name == ROTATIONS:
        return RotationData()
    for language in LANGUAGES:
        if language.name == name:
            return LanguageData(language, draw_strings(language))
    hint = did_you_mean(name, TASKS, f"there are {listed(TASKS)}")
    raise fail("N0501", f"there is no task `{name}`", hint=hint)


@dataclass(frozen=True)
class LanguageData:
    """Strings of a formal language; the target of each symbol is the label of the prefix it ends.

    The end of a string shorter than others has symbols 0 and no targets.
    """

    language: Language
    strings: Strings

    @property
    def source(self) -> str:
        return TASK + self.language.name

    @property
    def fingerprint(self) -> str:
        return hashlib.blake2b(repr(self.strings).encode(), digest_size=16).hexdigest()

    @property
    def unit(self) -> Unit:
        return BITS_PER_LABEL

    @property
    def tokens(self) -> int | None:
        return _longest(self.strings.train)

    @property
    def is_exact(self) -> bool:
        return True

    def __str__(self) -> str:
        train, bin0, bin1 = (
            f"{len(part):,} of {_lengths(part)} tokens"
            for part in (self.strings.train, self.strings.bin0, self.strings.bin1)
        )
        return f"{self.source}: {self.language.about} Strings: {train}; held out: bin0, {bin0}, bin1, {bin1}"

    def batch(self, step: int, seed: int, batch: int, tokens: int) -> Batch:
        """Strings drawn at random, each [batch, tokens] int64."""
        generator = torch.Generator().manual_seed(mixed_seed(seed, step, "batch"))
        chosen = torch.randint(len(self.strings.train), (batch,), generator=generator)
        return self._padded([self.strings.train[number] for number in chosen.tolist()], tokens)

    def following(self, step: int, batch: int, tokens: int) -> Batch:
        raise no_stream(self.source)

    def held_out(self, count: int | None, tokens: int) -> tuple[HeldOut, ...]:
        """The first strings of both bins; each bin is as long as its longest string."""
        bins = {"bin0": self.strings.bin0, "bin1": self.strings.bin1}
        return tuple(
            HeldOut(name, *self._padded(part[:count], _longest(part))) for name, part in bins.items()
        )

    def _padded(self, strings: list[String] | tuple[String, ...], tokens: int) -> Batch:
        inputs = torch.zeros(len(strings), tokens, dtype=torch.int64)
        targets = torch.full((len(strings), tokens), NO_TARGET, dtype=torch.int64)
        for row, string in enumerate(strings):
            inputs[row, : len(string)] = torch.tensor(string)
            targets[row, : len(string)] = torch.tensor(self.language.label(string))
        return inputs, targets

    def verify(self, tokens: int, plan: Plan) -> None:
        """Raises NestError N0501 if the model cannot take the symbols, or cannot give the labels."""
        symbols, labels = len(self.language.symbols), len(self.language.labels)
        if plan.input.takes != "ids" or plan.input.size < symbols:
            raise fail(
                "N0501",
                f"`{self.source}` has {_count(symbols, 'symbol')}; model `{plan.model}` has "
                f"`input {plan.input.takes}({plan.input.size})`",
                hint=f"write `input ids({symbols})`",
            )
        if plan.output_size < labels:
            raise fail(
                "N0501",
                f"`{self.source}` has {_count(labels, 'label')}; `out` of model `{plan.model}` has only "
                f"size {plan.output_size}",
                hint=f"let the last level before `out` be `linear({labels})`",
            )
        if plan.train.objective != "cross_entropy":
            raise fail(
                "N0501",
                f"a label is a choice; model `{plan.model}` is trained with "
                f"`objective {plan.train.objective}`",
                hint="write `objective cross_entropy` in its `train` clause",
            )

    def spare(self, plan: Plan) -> str:
        return spare_ids(self.source, plan, len(self.language.symbols), len(self.language.labels))


@dataclass(frozen=True)
class RotationData:
    """A stream of vectors whose next is to be told (see `tasks.rotations`)."""

    source: str = TASK + ROTATIONS

    @property
    def fingerprint(self) -> str:
        return hashlib.blake2b(RULE.encode(), digest_size=16).hexdigest()

    @property
    def unit(self) -> Unit:
        return SQUARED_ERROR

    @property
    def tokens(self) -> int | None:
        return None

    @property
    def is_exact(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"{self.source}: vectors turned by a rotation that changes without notice; which comes next?"

    def batch(self, step: int, seed: int, batch: int, tokens: int) -> Batch:
        return draw_rotations(
            batch, tokens, torch.Generator().manual_seed(mixed_seed(seed, step, "rotations"))
        )

    def following(self, step: int, batch: int, tokens: int) -> Batch:
        raise no_stream(self.source)

    def held_out(self, count: int | None, tokens: int) -> tuple[HeldOut, ...]:
        """Sequences that no step sees; there are always more, so all means 64."""
        count = 64 if count is None else count
        require_sequences(self.source, count, tokens, 2 * SIZE * BYTES)
        drawn = [
            draw_rotations(
                1, tokens, torch.Generator().manual_seed(mixed_seed(0, number, "held-out rotations"))
            )
            for number in range(count)
        ]
        inputs, targets = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        return (HeldOut("held_out", inputs, targets),)

    def verify(self, tokens: int, plan: Plan) -> None:
        """Raises NestError N0501 if the model is not one of vectors of this size."""
        if (plan.input.takes, plan.input.size, plan.output_size) != ("vectors", SIZE, SIZE):
            raise fail(
                "N0501",
                f"`{self.source}` gives vectors of {SIZE} and asks for the next; model `{plan.model}` has "
                f"`input {plan.input.takes}({plan.input.size})` and gives {plan.output_size}",
                hint=f"write `input vectors({SIZE})`; let the last level before `out` be `linear({SIZE})`",
            )
        if plan.train.objective != "mse":
            raise fail(
                "N0501",
                f"the targets of `{self.source}` are vectors; model `{plan.model}` is trained with "
                f"`objective {plan.train.objective}`",
                hint="write `objective mse` in its `train` clause",
            )

    def spare(self, plan: Plan) -> str:
        return ""


def _longest(strings: tuple[String, ...]) -> int:
    return max(len(string) for string in strings)


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"


def _lengths(strings: tuple[String, ...]) -> str:
    sizes = [len(string) for string in strings]
    return f"{min(sizes)} to {max(sizes)}"
