"""One run: a small transformer on the Python source of this machine, by one optimizer at one rate."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import torch

import nestdsl
from nestdsl.runtime.step_levels import NonFiniteGradient, StepLevels
from nestdsl.training.data.interface import Data
from nestdsl.training.evaluate import held_out_figures
from nestdsl.training.schedule import rate_scale
from nestdsl.training.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"
SETTINGS = Settings(steps=200, batch=8, tokens=128, held_out_sequences=64)
DIM, DEPTH = 64, 2


@dataclass(frozen=True, slots=True)
class Contender:
    """An optimizer with the rates it is tried at. `call` is written with `{rate}` and, for what it leaves
    its rest to, `{rest}`, a third of it. `own` is a file of `examples/optimizers` that declares it."""

    name: str
    rates: tuple[float, float, float]
    call: str
    own: str = ""

    def program(self, rate: float) -> str:
        """The transformer of the examples, trained by this instead of its own optimizer."""
        text = (EXAMPLES / "transformer.nest").read_text(encoding="utf-8")
        before, after = re.split(r"(?m)(?<=^    )optimizer .*$", text)
        declared = ""
        if self.own:
            file = (EXAMPLES / "optimizers" / self.own).read_text(encoding="utf-8")
            declared = "optimizer" + file.partition("\noptimizer")[2].partition("\nmodel")[0]
        call = self.call.format(rate=rate, rest=rate / 3)
        return f"{before}optimizer {call}{after}\n{declared}"


CONTENDERS = (
    Contender("adamw", (3e-3, 1e-2, 3e-2), "adamw(lr = {rate})"),
    Contender("muon", (3e-2, 1e-1, 3e-1), "muon(lr = {rate}, adamw_lr = {rest})"),
    Contender("m3", (1e-2, 3e-2, 1e-1), "m3(lr = {rate})"),
    Contender("m3, mix = 0", (1e-2, 3e-2, 1e-1), "m3(lr = {rate}, mix = 0)"),
    Contender("momentum", (0.1, 0.3, 1.0), "momentum(lr = {rate})"),
    Contender("delta_momentum", (0.3, 1.0, 3.0), "delta_momentum(lr = {rate})"),
    Contender("dmgd", (1.0, 3.0, 10.0), "dmgd(lr = {rate})"),
    Contender("turning", (3e-3, 1e-2, 3e-2), "turning(lr = {rate})", "turning.nest"),
)


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave: the loss of each step and the held-out loss at its end, in bits per byte (infinite
    if it diverged)."""

    losses: tuple[float, ...]
    held_out: float


def run(contender: Contender, rate: float, data: Data, seed: int, settings: Settings = SETTINGS) -> Run:
    """Trains by `settings`, with warm-up, cosine and clipping as `nestdsl train` has them."""
    settings = replace(settings, seed=seed)
    torch.manual_seed(seed)
    model = nestdsl.parse(contender.program(rate), dim=DIM, depth=DEPTH).compile(compile=False)
    levels = StepLevels(model)
    losses: list[float] = []
    for step in range(1, settings.steps + 1):
        loss = model.loss(*data.batch(step, seed, settings.batch, settings.tokens))
        loss.backward()
        try:
            levels.step(step, rate_scale(step, settings), settings.clip)
        except NonFiniteGradient:
            return Run(tuple(losses), math.inf)
        losses.append(float(loss.detach()) * data.unit.scale)
    figures = held_out_figures(model, data, settings.held_out_sequences, settings.batch, settings.tokens)
    held_out = next(iter(figures.values()))
    return Run(tuple(losses), held_out if math.isfinite(held_out) else math.inf)


@dataclass(frozen=True, slots=True)
class Summary:
    """All runs of an optimizer: those of each rate, one for each seed."""

    contender: Contender
    runs: dict[float, tuple[Run, ...]]

    def held_out(self, rate: float) -> float:
        """The mean over seeds of the held-out loss."""
        return fmean(one.held_out for one in self.runs[rate])

    @property
    def best_rate(self) -> float:
        return min(self.contender.rates, key=self.held_out)

    @property
    def best(self) -> tuple[Run, ...]:
        return self.runs[self.best_rate]

    def curve(self, window: int = 10) -> tuple[float, ...]:
        """The training loss at the best rate: the mean over seeds, and over the last `window` steps."""
        length = min(len(one.losses) for one in self.best)
        means = [fmean(one.losses[step] for one in self.best) for step in range(length)]
        return tuple(fmean(means[max(0, step - window + 1) : step + 1]) for step in range(length))
