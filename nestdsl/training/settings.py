"""What a run of training can be told, and whether it makes sense. No torch here."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nestdsl.diagnostics import Diagnostics, NestError, fail
from nestdsl.ranges import raise_any, verify_number, verify_seed, verify_whole

DATA = "stdlib"


@dataclass(frozen=True)
class Settings:
    """The settings of one run. Equal settings, program, data and machine give equal numbers.

    `batch` sequences of `tokens` tokens make one step. The learning rates rise over the first
    `warmup` share of the steps and then fall along a cosine to `final_rate` times their value.
    Gradients are clipped to the norm `clip` (0: not clipped). `held_out_sequences` sequences of
    each held-out part are measured before the first step, every `evaluate_every` steps and after
    the last; a checkpoint is written every `checkpoint_every` steps and at the end, and the last `keep`
    of them are kept.
    """

    steps: int = 200
    batch: int = 8
    tokens: int = 256
    seed: int = 0
    warmup: float = 0.1
    final_rate: float = 0.1
    clip: float = 1.0
    evaluate_every: int = 100
    checkpoint_every: int = 100
    held_out_sequences: int = 32
    keep: int = 2

    def verify(self) -> None:
        """Raises NestError with every setting that is out of its range."""
        found = Diagnostics()
        for name in (
            "steps",
            "batch",
            "tokens",
            "evaluate_every",
            "checkpoint_every",
            "held_out_sequences",
            "keep",
        ):
            verify_whole(found, name, getattr(self, name))
        for name, most in (("warmup", 1.0), ("final_rate", 1.0), ("clip", math.inf)):
            verify_number(found, name, getattr(self, name), most)
        verify_seed(found, self.seed)
        raise_any(found)

    def as_dict(self) -> dict[str, int | float]:
        return asdict(self)


def sequence_tokens(asked: int | None, own: int | None, source: str) -> int:
    """The tokens of a sequence: `own` where the data of `source` says it, else what the user asked for.

    Raises NestError N0501 where both say something else.
    """
    if own is None:
        return Settings.tokens if asked is None else asked
    if asked is not None and asked != own:
        raise fail(
            "N0501",
            f"the sequences of `{source}` have {own:,} tokens, not {asked:,}",
            hint="leave --tokens out",
        )
    return own


_MAY_CHANGE = ("steps", "keep")
"""The settings that a continued run may have otherwise."""


def continued_settings(before: Settings, folder: Path, given: dict[str, int | float]) -> Settings:
    """The settings of a continued run: those it was started with, but `steps` and `keep` may change.

    `given` holds what the user said this time. Raises NestError N0502 for any other change,
    because the run would no longer be one run.
    """
    found = Diagnostics()
    known = before.as_dict()
    for name, value in given.items():
        if name not in _MAY_CHANGE and value != known[name]:
            found.report(
                "N0502",
                f"the run in `{folder}` was started with {name} {known[name]}, not {value}",
                hint=f"leave `{name}` out to continue it, or start a new run with another --out",
            )
    if found.has_errors:
        raise NestError(found)
    return replace(before, **{name: value for name, value in given.items() if name in _MAY_CHANGE})
