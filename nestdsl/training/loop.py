"""Training: from a model and text to a run folder with a checkpoint and metrics."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from nestdsl.diagnostics import NestError, fail
from nestdsl.diagnostics.quantities import counted
from nestdsl.interrupts import Held, Interrupted, interrupts_held
from nestdsl.library.functions import AUTO
from nestdsl.memory import fits_memory
from nestdsl.ranges import require_whole
from nestdsl.runtime.compilation import CompiledRun
from nestdsl.runtime.compile_progress import compiling_shown
from nestdsl.runtime.module import NestModule
from nestdsl.runtime.state import State
from nestdsl.runtime.step_levels import NonFiniteGradient, StepLevels
from nestdsl.training import checkpoint, metrics
from nestdsl.training.arguments import require_model, require_weights
from nestdsl.training.checkpoint import Checkpoint, Progress
from nestdsl.training.data.interface import Data, mixed_seed
from nestdsl.training.data.sources import read_data
from nestdsl.training.donor import take_weights
from nestdsl.training.evaluate import finite, held_out_figures
from nestdsl.training.figures import Figures, shown, words
from nestdsl.training.folders import run_folder
from nestdsl.training.memory import require_step_memory, step_fits_memory
from nestdsl.training.progress import Reporter, reporter
from nestdsl.training.restore import data_of, rebuilt, verify_same_data, warn_of_damage
from nestdsl.training.schedule import rate_scale
from nestdsl.training.settings import DATA, Settings, continued_settings, sequence_tokens
from nestdsl.training.staging import alone_in


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


def train(
    model: NestModule,
    data: str = DATA,
    steps: int = Settings.steps,
    out: str | Path = "runs/model",
    *,
    batch: int = Settings.batch,
    tokens: int | None = None,
    seed: int = Settings.seed,
    warmup: float = Settings.warmup,
    final_rate: float = Settings.final_rate,
    clip: float = Settings.clip,
    evaluate_every: int = Settings.evaluate_every,
    checkpoint_every: int = Settings.checkpoint_every,
    held_out_sequences: int = Settings.held_out_sequences,
    keep: int = Settings.keep,
    until: int | None = None,
    start_from: str | Path | None = None,
    quiet: bool = False,
) -> Result:
    """Trains a model and leaves a run in the folder `out`.

    `data` is a text file, a folder of text files, "stdlib", the Python source of this machine, or
    "task:NAME", made by rules. `tokens` left out are those of the task, or 256.
    `start_from` is the folder of a run of another program, whose weights the levels take by name.
    `nestdsl.training.settings.Settings` explains the numbers. `until` ends the run early, after
    that step, without changing its schedule; `nestdsl.resume` goes on with it, or with a run that
    was interrupted. Raises NestError where the data, the settings or the folder do not fit,
    TypeError for what is no model, and `Interrupted`, a KeyboardInterrupt, for a run that was
    interrupted between two steps and left a checkpoint.

        result = nestdsl.train(nest.compile(), "text.txt", steps=500, out="runs/text")
    """
    require_model(model, "train")
    read = read_data(data)
    length = sequence_tokens(tokens, read.tokens, read.source)
    often = (evaluate_every, checkpoint_every, held_out_sequences, keep)
    settings = Settings(steps, batch, length, seed, warmup, final_rate, clip, *often)
    settings.verify()
    donor = None if start_from is None else checkpoint.load(run_folder(start_from, "start_from"))
    if donor is not None:
        warn_of_damage(donor, stacklevel=3)
    return start(model, read, run_folder(out, "out"), settings, reporter(quiet), until, donor)


def resume(
    model: NestModule | None = None,
    data: str | None = None,
    out: str | Path = "runs/model",
    *,
    steps: int | None = None,
    keep: int | None = None,
    until: int | None = None,
    quiet: bool = False,
) -> Result:
    """Continues the run in `out` from its last checkpoint, to the end or to a new number of `steps`.

    With the same `steps` the numbers are those of a run that was never interrupted. `model` is
    needed only to have the trained model at hand, or to go on elsewhere than on the CPU: one of the same
    program, whose weights are replaced, or what `nestdsl.restore` gives. `data` is needed only where
    the text of the run lies elsewhere now. Where the last checkpoint is damaged, a RuntimeWarning tells of
    it and the run goes on from the one before. Errors are those of `train`, and NestError N0003 or N0502
    where there is no checkpoint, or one of another program.

        result = nestdsl.resume(out="runs/text", steps=1000)
    """
    if model is not None:
        require_model(model, "resume")
    with fits_memory("the model of the run"):
        saved = checkpoint.load(run_folder(out, "out"))
        if model is None:
            model = rebuilt(saved, "cpu", saved.progress.compiled)
    warn_of_damage(saved, stacklevel=3)
    read = data_of(saved) if data is None else read_data(data)
    named = {"steps": steps, "keep": keep}
    given: dict[str, int | float] = {name: value for name, value in named.items() if value is not None}
    return proceed(model, read, saved, given, reporter(quiet), until)


def start(
    model: NestModule,
    data: Data,
    out: Path,
    settings: Settings,
    shown: Reporter,
    until: int | None = None,
    donor: Checkpoint | None = None,
) -> Result:
    """Begins a run in a folder that holds none, with the weights of another run if one is given."""
    settings.verify()
    if until is not None:
        require_whole("until", until, least=0)
    require_weights(model)
    data.verify(settings.tokens, model.plan)
    require_step_memory(model, settings)
    precision = model.fix_precision()
    with step_fits_memory(settings):
        if model.carries_state():
            data.following(1, settings.batch, settings.tokens)  # which says what does not fit
        if donor is not None:
            take_weights(model, donor)
        prepare_folder(out)
        levels = StepLevels(model, settings.steps)
    compiled = isinstance(model.run, CompiledRun)
    with alone_in(out), shown, compiling_shown(model.run, shown.note), step_fits_memory(settings):
        prepare_folder(out)  # again: another process may have trained here since
        shown.start(0, settings.steps, settings.batch * settings.tokens, data.unit)
        _introduce(shown, data, model, "chosen for this machine")
        if donor is not None:
            shown.note(f"starting from the weights of {donor.folder} after {donor.progress.step} steps")
        _note_if_nothing_is_left(shown, 0, settings.steps, until, out)
        before = _measure(model, data, settings, step=0)
        shown.held_out(0, before)
        progress = Progress(0, data.source, data.fingerprint, before, compiled, precision)
        checkpoint.save(out, model, levels, settings, progress)
        with metrics.Metrics(out) as written:
            written.write(step=0, **before)
            return _run(model, levels, data, out, settings, progress, None, written, shown, until)


def _introduce(shown: Reporter, data: Data, model: NestModule, why: str) -> None:
    shown.note(str(data))
    if model.product_precision != AUTO:
        shown.note(f"newton_schulz multiplies in {model.product_precision}, {why}")
    if spare := data.spare(model.plan):
        shown.note(spare)


def proceed(
    model: NestModule,
    data: Data,
    saved: Checkpoint,
    given: dict[str, int | float],
    shown: Reporter,
    until: int | None = None,
) -> Result:
    """Continues a run; `given` holds the settings that the user named this time."""
    out = saved.folder
    settings = continued_settings(saved.settings, out, given)
    settings.verify()
    if until is not None:
        require_whole("until", until, least=0)
    data.verify(settings.tokens, model.plan)
    verify_same_data(data, saved)
    saved.verify_figures(data)
    require_step_memory(model, settings)
    precision = model.fix_precision(saved.progress.precision)
    with step_fits_memory(settings):
        levels = StepLevels(model, settings.steps)
        saved.apply(model, levels)
    if not model.plan.weights:  # the file from which they once came need not be there any more
        model.plan = replace(model.plan, weights=saved.plan.weights)
    stream = saved.stream_of(model)
    compiled = isinstance(model.run, CompiledRun)
    if saved.warnings:  # this one may be of a time when fewer were kept
        settings = replace(settings, keep=max(settings.keep, len(checkpoint.names(out))))
    progress = replace(saved.progress, data_source=data.source, compiled=compiled, precision=precision)
    with ExitStack() as inside:
        inside.enter_context(alone_in(out))
        inside.enter_context(shown)
        inside.enter_context(compiling_shown(model.run, shown.note))
        inside.enter_context(step_fits_memory(settings))
        saved.take_over()
        written = inside.enter_context(metrics.Metrics(out, progress.step))
        shown.start(progress.step, settings.steps, settings.batch * settings.tokens, data.unit)
        _introduce(shown, data, model, "as the run has it from its start")
        if written.missing:
            shown.note(written.missing)
        _note_if_nothing_is_left(shown, progress.step, settings.steps, until, out)
        return _run(model, levels, data, out, settings, progress, stream, written, shown, until)


def _note_if_nothing_is_left(shown: Reporter, step: int, steps: int, until: int | None, out: Path) -> None:
    setting, last = ("--steps", steps) if until is None or until >= steps else ("--until", until)
    if step >= last:
        shown.note(
            f"nothing is left to do: the run in {out} is at step {step} already, and {setting} is {last}"
        )


def prepare_folder(out: Path) -> None:
    """Makes the folder of a new run. Raises NestError N0504 if it holds a run or cannot be written."""
    for name in (*checkpoint.names(out), metrics.FILE, checkpoint.PLAN_FILE):
        if os.path.lexists(out / name):  # unlike Path.exists, False where one may not look
            raise fail(
                "N0504",
                f"`{out}` holds a run already (`{name}`)",
                hint="continue it with --resume, give another --out, or remove the folder",
            )
    if os.path.exists(out) and not os.path.isdir(out):
        raise fail("N0504", f"`{out}` is not a folder", hint="give a folder with --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise fail(
            "N0504", f"cannot write to `{out}`: {error.strerror}", hint="give another --out"
        ) from error


def _run(
    model: NestModule,
    levels: StepLevels,
    data: Data,
    out: Path,
    settings: Settings,
    progress: Progress,
    stream: State | None,
    written: metrics.Metrics,
    shown: Reporter,
    until: int | None,
) -> Result:
    """`stream` is what levels that are never reset carry on, None at its start."""
    begun = time.perf_counter()
    first = progress.step + 1
    last = settings.steps if until is None else min(settings.steps, until)
    after = None
    model.train()
    try:
        with ExitStack() as guards:
            held = Held()
            for step in range(first, last + 1):
                values, stream = _step(model, levels, data, settings, step, stream)
                shown.moved(step, values[f"loss_{data.unit.name}"])
                after = None
                if step % settings.evaluate_every == 0 or step == settings.steps:
                    after = _measure(model, data, settings, step)
                    values |= after
                    shown.held_out(step, after)
                written.write(step=step, **values)
                if step % settings.checkpoint_every == 0 or step == last or held.interrupted:
                    progress = replace(progress, step=step)
                    checkpoint.save(out, model, levels, settings, progress, stream)
                if held.interrupted:
                    raise Interrupted(step)
                if step == first:  # which may be interrupted at any moment: it compiles, and is soon repeated
                    held = guards.enter_context(interrupts_held(first_only=True))
        if after is None:
            after = _measure(model, data, settings, progress.step)
    except Interrupted:
        raise
    except KeyboardInterrupt:
        raise Interrupted(progress.step) from None  # the step of the last checkpoint
    return Result(progress.step, progress.before, after, time.perf_counter() - begun, out)


def _step(
    model: NestModule, levels: StepLevels, data: Data, settings: Settings, step: int, stream: State | None
) -> tuple[dict[str, float], State | None]:
    """One optimizer step: its loss, the norm of its gradient and the scale of its learning rates, where
    any optimizer follows it; and what the stream goes on with."""
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
        norm = levels.step(step, scale, settings.clip or None)
    except NonFiniteGradient as error:
        raise _diverged(f"{error} at step {step}") from error
    _verify_weights(levels, step)
    values = {f"loss_{data.unit.name}": value * data.unit.scale, "gradient_norm": norm}
    return values | ({"rate_scale": scale} if levels.follow_run else {}), stream


def _measure(model: NestModule, data: Data, settings: Settings, step: int) -> Figures:
    figures = held_out_figures(model, data, settings.held_out_sequences, settings.batch, settings.tokens)
    if step == 0:
        return finite(figures, " before the first step", _AT_THE_START)
    return finite(figures, f" after step {step}", _TOO_FAST)


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
