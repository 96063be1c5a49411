"""The steps of a run: from its first to its last, with what is measured and kept on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nestdsl.diagnostics import NestError, fail
from nestdsl.diagnostics.quantities import counted
from nestdsl.interrupts import Held, Interrupted, interrupts_held
from nestdsl.runtime.compile_progress import compiling_shown
from nestdsl.runtime.module import NestModule
from nestdsl.runtime.state import State
from nestdsl.runtime.step_levels import NonFiniteGradient, StepLevels
from nestdsl.training import checkpoint
from nestdsl.training.checkpoint import Progress
from nestdsl.training.data.interface import Data, mixed_seed
from nestdsl.training.evaluate import finite, held_out_figures
from nestdsl.training.figures import Figures, shown, words
from nestdsl.training.memory import step_fits_memory
from nestdsl.training.metrics import Metrics
from nestdsl.training.progress import Reporter
from nestdsl.training.schedule import rate_scale
from nestdsl.training.settings import Settings
from nestdsl.training.staging import alone_in
from nestdsl.vocabulary.functions import AUTO


@dataclass(frozen=True, slots=True)
class Result:
    """A run that has ended, with its held-out figures before the first step and now, by name.

    `seconds` are of this call.
    """

    step: int
    before: Figures
    after: Figures
    seconds: float
    out: Path

    @property
    def held_out_before(self) -> float:
        """The first of the figures: the loss on the (first) held-out part."""
        return next(iter(self.before.values()))

    @property
    def held_out_after(self) -> float:
        return next(iter(self.after.values()))

    def __str__(self) -> str:
        changes = "; ".join(
            f"{words(name)}: {shown(name, self.before[name])} before, {shown(name, value)} after"
            for name, value in self.after.items()
        )
        return f"{changes} {counted(self.step, 'step')} ({self.seconds:.0f} s); run in {self.out}"


@dataclass(slots=True)
class Run:
    """A run of training in the folder `out`, which has made the steps that `progress` says.

    It ends after step `until`, or with the last of its settings.
    """

    model: NestModule
    levels: StepLevels
    data: Data
    out: Path
    settings: Settings
    progress: Progress
    shown: Reporter
    until: int | None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other process trains in this folder, and what goes on is shown."""
        compiling = compiling_shown(self.model.run, self.shown.note)
        with alone_in(self.out), self.shown, compiling, step_fits_memory(self.settings):
            yield

    def introduce(self, precision_from: str, further: str) -> None:
        """Shows what the run begins with; `further` where that is not empty."""
        step, settings, note = self.progress.step, self.settings, self.shown.note
        self.shown.start(step, settings.steps, settings.batch * settings.tokens, self.data.unit)
        note(str(self.data))
        if self.model.product_precision != AUTO:
            note(f"newton_schulz multiplies in {self.model.product_precision}, {precision_from}")
        for text in (self.data.spare(self.model.plan), further):
            if text:
                note(text)
        if step >= self.last:
            setting = "--steps" if self.last == settings.steps else "--until"
            note(
                f"nothing is left to do: the run in {self.out} is at step {step} already, and {setting} is "
                f"{self.last}"
            )

    @property
    def last(self) -> int:
        """The last step to make."""
        return self.settings.steps if self.until is None else min(self.settings.steps, self.until)

    def measure(self, step: int) -> Figures:
        """The held-out figures after a step. Raises NestError N0505 if they are not finite."""
        settings = self.settings
        sequences = settings.held_out_sequences
        figures = held_out_figures(self.model, self.data, sequences, settings.batch, settings.tokens)
        if step == 0:
            return finite(figures, " before the first step", _AT_THE_START)
        return finite(figures, f" after step {step}", _TOO_FAST)

    def save(self, stream: State | None = None) -> None:
        checkpoint.save(self.out, self.model, self.levels, self.settings, self.progress, stream)

    def go(self, written: Metrics, stream: State | None = None) -> Result:
        """Makes all steps. `stream` is what levels that are never reset carry on, None at its start."""
        begun, settings = time.perf_counter(), self.settings
        first, after = self.progress.step + 1, None
        self.model.train()
        try:
            with ExitStack() as guards:
                held = Held()
                for step in range(first, self.last + 1):
                    values, stream = self._step(step, stream)
                    self.shown.moved(step, values[f"loss_{self.data.unit.name}"])
                    after = None
                    if step % settings.evaluate_every == 0 or step == settings.steps:
                        after = self.measure(step)
                        values |= after
                        self.shown.held_out(step, after)
                    written.write(step=step, **values)
                    if step % settings.checkpoint_every == 0 or step == self.last or held.interrupted:
                        self.progress = replace(self.progress, step=step)
                        self.save(stream)
                    if held.interrupted:
                        raise Interrupted(step)
                    if step == first:  # which may be interrupted at any moment: it compiles, and is repeated
                        held = guards.enter_context(interrupts_held(first_only=True))
            if after is None:
                after = self.measure(self.progress.step)
        except Interrupted:
            raise
        except KeyboardInterrupt:
            raise Interrupted(self.progress.step) from None  # the step of the last checkpoint
        seconds = time.perf_counter() - begun
        return Result(self.progress.step, self.progress.before, after, seconds, self.out)

    def _step(self, step: int, stream: State | None) -> tuple[dict[str, float], State | None]:
        """One optimizer step: its loss, the norm of its gradient and the scale of its learning rates, where
        any optimizer follows it; and what the stream goes on with."""
        model, data, settings = self.model, self.data, self.settings
        device = next(model.parameters()).device
        scale = rate_scale(step, settings)
        with _seeded(mixed_seed(settings.seed, step, "model"), device):
            if model.carries_state():
                inputs, targets = data.following(step, settings.batch, settings.tokens)
                loss, stream = model.stream_loss(inputs.to(device), targets.to(device), stream)
            else:
                inputs, targets = data.batch(step, settings.seed, settings.batch, settings.tokens)
                loss = model.loss(inputs.to(device), targets.to(device))
            loss.backward()
        value = loss.item()
        if not math.isfinite(value):
            raise _diverged(f"the loss is {value} at step {step}")
        try:
            norm = self.levels.step(step, scale, settings.clip or None)
        except NonFiniteGradient as error:
            raise _diverged(f"{error} at step {step}") from error
        _verify_weights(self.levels, step)
        values = {f"loss_{data.unit.name}": value * data.unit.scale, "gradient_norm": norm}
        return values | ({"rate_scale": scale} if self.levels.follow_run else {}), stream


def _verify_weights(levels: StepLevels, step: int) -> None:
    """The gradients of this step were finite: what is not finite now was made so by an update.

    A checkpoint of it would take the place of the last one that is of use.
    """
    weights = {name: weight for group in levels.groups for name, weight in group.weights.items()}
    if math.isfinite(float(torch.nn.utils.get_total_norm(list(weights.values())))):
        return
    for name, weight in weights.items():  # one by one: a norm of finite numbers may be too large, too
        if not bool(weight.isfinite().all()):
            level, optimizer = levels.driven_by(name)
            raise _diverged(
                f"the update of `{optimizer}` at `{level}` (its weight `{name}`) is not finite at step "
                f"{step}, though the gradients are",
                _OF_AN_UPDATE,
            )


_OF_AN_UPDATE = (
    "keep what it divides by from being zero, as in `/ (sqrt(v) + eps)`; if it divides by nothing, lower its "
    "`lr`; the last checkpoint is from before"
)

_AT_THE_START = (
    "a memory diverges while it reads: give it keys of length 1 (`l2_normalize(heads)`), smaller steps or a "
    "shorter chunk, so that the steps of a chunk add up to less than 2"
)


_TOO_FAST = "lower the learning rate `lr`, or --clip; the last checkpoint is from before"


def _diverged(message: str, hint: str = _TOO_FAST) -> NestError:
    return fail("N0505", message, hint=hint)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """What is random inside, such as dropout, follows from `seed`; outside nothing changes."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
