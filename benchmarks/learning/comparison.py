"""Which runs a comparison is made of, and what they say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from benchmarks.learning.contenders import RATES, Family, Reference
from benchmarks.learning.jobs import OURS, Job
from benchmarks.learning.store import Store
from benchmarks.learning.training import SOLVED, Outcome

Verdict = Literal["ahead", "level", "behind"]

RECALLED = 0.95
"""The share of right answers that the criterion of recall asks for, with every seed."""

CRITERION = ((1, 0), (1, 16), (2, 0), (2, 16))
"""Layers and filler at which it is asked for."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A task at its size, and how it is run."""

    task: str
    layers: int
    filler: int
    steps: int
    seeds: int
    rates: tuple[float, ...] = RATES["bytes"]

    def ours(self, family: Family, factor: float = 1.0) -> list[Job]:
        """Our runs: the rates that ship with every seed, others with the first one."""
        seeds = range(self.seeds) if factor == 1 else range(1)
        return [self._job(family, OURS, factor, seed) for seed in seeds]

    def search(self, family: Family, reference: Reference) -> list[Job]:
        """The reference with the first seed at each rate."""
        return [self._job(family, reference.key, rate, 0) for rate in self.rates]

    def best(self, family: Family, reference: Reference, store: Store) -> list[Job]:
        """The reference with every seed at the rate that was best; none before the search has ended."""
        found = [(store.get(job), job.rate) for job in self.search(family, reference)]
        scores = [(_score(outcome), outcome.held_out, rate) for outcome, rate in found if outcome is not None]
        if len(scores) < len(self.rates):
            return []
        *_, rate = min(scores)
        return [self._job(family, reference.key, rate, seed) for seed in range(self.seeds)]

    def _job(self, family: Family, contender: str, rate: float, seed: int) -> Job:
        return Job(family.name, contender, self.task, self.layers, self.filler, self.steps, rate, seed)


@dataclass(frozen=True, slots=True)
class Side:
    """The runs of one contender at one rate, one for each seed."""

    outcomes: tuple[Outcome, ...]

    @property
    def mean(self) -> float:
        """Of bits per byte, or of the share of right answers."""
        return fmean(_figure(one) for one in self.outcomes)

    @property
    def spread(self) -> float:
        """From the lowest to the highest over seeds; infinite if some diverged, and zero if all did."""
        scores = [_score(one) for one in self.outcomes]
        if all(score == scores[0] for score in scores):
            return 0.0
        return max(scores) - min(scores)

    @property
    def score(self) -> float:
        """The mean, the lower the better."""
        return fmean(_score(one) for one in self.outcomes)

    @property
    def steps(self) -> float:
        """After which a run ended, on average."""
        return fmean(one.step for one in self.outcomes)

    @property
    def seconds(self) -> float:
        return fmean(one.seconds for one in self.outcomes)


def judge(ours: Side, theirs: Side) -> Verdict:
    """Behind or ahead only by more than the larger of the two spreads over seeds."""
    if not math.isfinite(ours.score) or not math.isfinite(theirs.score):
        return "level" if ours.score == theirs.score else "behind" if ours.score > theirs.score else "ahead"
    apart, spread = ours.score - theirs.score, max(ours.spread, theirs.spread)
    return "level" if abs(apart) <= spread else "behind" if apart > 0 else "ahead"


def side(jobs: Sequence[Job], store: Store) -> Side | None:
    """The runs of a contender; None where one is missing."""
    found = [store.get(job) for job in jobs]
    outcomes = tuple(one for one in found if one is not None)
    return Side(outcomes) if outcomes and len(outcomes) == len(found) else None


def _score(outcome: Outcome) -> float:
    """The lower the better. All runs that ended early since they were solved count the same."""
    return max(outcome.score, -SOLVED)


def _figure(outcome: Outcome) -> float:
    return outcome.held_out if outcome.accuracy is None else outcome.accuracy
