"""Formal languages as data: `task:parity` and others on the command line."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch

from nestdsl.diagnostics import fail
from nestdsl.diagnostics.quantities import counted
from nestdsl.plan.plan import Plan
from nestdsl.tasks.languages import LANGUAGES, Language, Strings, draw_strings
from nestdsl.tasks.strings import String
from nestdsl.training.data.interface import (
    NO_TARGET,
    TASK,
    Batch,
    HeldOut,
    mixed_seed,
    no_stream,
    require_objective,
    spare_ids,
)
from nestdsl.training.figures import Unit

BITS_PER_LABEL = Unit("bits_per_label", "bits per label", "bits/label", 1 / math.log(2))


@dataclass(frozen=True)
class LanguageData:
    """Strings of a formal language; the target of each symbol is the label of the prefix it ends.

    The end of a string shorter than others has symbols 0 and no targets.
    """

    language: Language
    strings: Strings

    unit: Unit = field(default=BITS_PER_LABEL, init=False)
    is_exact: bool = field(default=True, init=False)

    @property
    def source(self) -> str:
        return TASK + self.language.name

    @property
    def fingerprint(self) -> str:
        return hashlib.blake2b(repr(self.strings).encode(), digest_size=16).hexdigest()

    @property
    def tokens(self) -> int | None:
        return _longest(self.strings.train)

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
                f"`{self.source}` has {counted(symbols, 'symbol')}; model `{plan.model}` has "
                f"`input {plan.input.takes}({plan.input.size})`",
                hint=f"write `input ids({symbols})`",
            )
        if plan.output_size < labels:
            raise fail(
                "N0501",
                f"`{self.source}` has {counted(labels, 'label')}; `out` of model `{plan.model}` has only "
                f"size {plan.output_size}",
                hint=f"let the last level before `out` be `linear({labels})`",
            )
        require_objective("cross_entropy", plan, "a label is a choice")

    def spare(self, plan: Plan) -> str:
        return spare_ids(self.source, plan, len(self.language.symbols), len(self.language.labels))


def _longest(strings: tuple[String, ...]) -> int:
    return max(len(string) for string in strings)


def _lengths(strings: tuple[String, ...]) -> str:
    sizes = [len(string) for string in strings]
    return f"{min(sizes)} to {max(sizes)}"


def _drawn(language: Language) -> LanguageData:
    return LanguageData(language, draw_strings(language))


FORMAL_LANGUAGES: dict[str, Callable[[], LanguageData]] = {
    language.name: partial(_drawn, language) for language in LANGUAGES
}
"""What gives the data of each language, by its name."""
