"""The one loop by which everybody is trained and measured."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass

import torch

from benchmarks.learning.learner import Learner
from benchmarks.learning.tasks import Task
from nestdsl.runtime.step_levels import NonFiniteGradient
from nestdsl.training.data.interface import NO_TARGET
from nestdsl.training.schedule import rate_scale
from nestdsl.training.settings import Settings

SOLVED = 0.99
"""The share of right answers at which a run ends early."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. `held_out`: bits per target, infinite if it diverged. `accuracy`: the share of right
    answers, of tasks that count them. `step`: the last one made. `curve`: step and accuracy (of text, bits)
    each time it was measured. `seconds`: of steps and measuring; `parameters`: numbers that learn."""

    held_out: float
    accuracy: float | None
    step: int
    parameters: int
    seconds: float
    curve: tuple[tuple[int, float], ...]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)

    @property
    def score(self) -> float:
        """Of two outcomes of one task the one with the lower score is better."""
        return self.held_out if self.accuracy is None else -self.accuracy


def trained(learner: Learner, task: Task, seed: int, steps: int, measure_every: int = 50) -> Outcome:
    """Trains with the warm-up, cosine and clipping of `nestdsl train`, then measures what is held out.

    Recall is measured every `measure_every` steps as well, and ends early once it is `SOLVED`.
    """
    settings = Settings(steps=steps, seed=seed)
    curve: list[tuple[int, float]] = []
    started = time.perf_counter()
    step = 0
    try:
        for step in range(1, steps + 1):
            loss = learner.learn(*task.batch(step, seed), step, rate_scale(step, settings))
            if not math.isfinite(loss):
                raise NonFiniteGradient("", "the loss")
            if task.counts_answers and step % measure_every == 0:
                curve.append((step, _accuracy(learner, task)))
                if curve[-1][1] >= SOLVED:
                    break
    except (NonFiniteGradient, FloatingPointError):
        accuracy = 0.0 if task.counts_answers else None
        return Outcome(
            math.inf, accuracy, step, learner.parameters, time.perf_counter() - started, tuple(curve)
        )
    accuracy = None
    if task.counts_answers:
        accuracy = curve[-1][1] if curve and curve[-1][0] == step else _accuracy(learner, task)
    held_out = _bits(learner, task)
    return Outcome(held_out, accuracy, step, learner.parameters, time.perf_counter() - started, tuple(curve))


def _accuracy(learner: Learner, task: Task) -> float:
    """The share of targets whose id is the likeliest one."""
    right = asked = 0
    for inputs, targets in task.held_out():
        is_asked = targets != NO_TARGET
        right += int((learner.answers(inputs) == targets)[is_asked].sum())
        asked += int(is_asked.sum())
    return right / asked


def _bits(learner: Learner, task: Task) -> float:
    """The mean loss over all targets, in bits."""
    total, count = 0.0, 0
    for inputs, targets in task.held_out():
        here = int((targets != NO_TARGET).sum())
        total += learner.loss(inputs, targets) * here
        count += here
    bits = total / count / math.log(2)
    return bits if math.isfinite(bits) else math.inf


def one_thread(seed: int) -> None:
    """What every process that trains begins with."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
