"""Warm-up and cosine: one factor for the learning rates of all optimizers."""

from __future__ import annotations

import math

from nestdsl.training.settings import Settings


def rate_scale(step: int, settings: Settings) -> float:
    """What the learning rates are multiplied by at `step`, from 1 to `settings.steps`.

    It rises in a straight line to 1 over the warm-up, then falls along half a cosine to
    `settings.final_rate` at the last step.

    >>> [round(rate_scale(step, Settings(steps=6, warmup=0.34)), 3) for step in range(1, 7)]
    [0.5, 1.0, 0.868, 0.55, 0.232, 0.1]
    """
    warmup_steps = round(settings.warmup * settings.steps)
    if step <= warmup_steps:
        return step / warmup_steps
    progress = min(1.0, (step - warmup_steps) / (settings.steps - warmup_steps))
    return settings.final_rate + (1 - settings.final_rate) * (1 + math.cos(math.pi * progress)) / 2
