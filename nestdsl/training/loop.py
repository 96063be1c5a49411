"""Training: from a model and text to a run folder with a checkpoint and metrics."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from nestdsl.diagnostics import fail
from nestdsl.given import require_bool
from nestdsl.memory import fits_memory
from nestdsl.ranges import require_whole
from nestdsl.runtime.compilation import CompiledRun
from nestdsl.runtime.module import NestModule
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.training import checkpoint
from nestdsl.training.arguments import require_model, require_weights
from nestdsl.training.checkpoint import Checkpoint, Progress
from nestdsl.training.data.interface import Data
from nestdsl.training.data.sources import read_data
from nestdsl.training.donor import take_weights
from nestdsl.training.folders import run_folder
from nestdsl.training.imports import imports_of
from nestdsl.training.memory import require_step_memory, step_fits_memory
from nestdsl.training.metrics import FILE as METRICS_FILE
from nestdsl.training.metrics import Metrics
from nestdsl.training.progress import Reporter, reporter
from nestdsl.training.restore import data_of, rebuilt, verify_same_data, warn_of_damage
from nestdsl.training.settings import DATA, Settings, continued_settings, sequence_tokens
from nestdsl.training.steps import Result, Run


def train(
    model: NestModule,
    data: str | os.PathLike[str] = DATA,
    steps: int = Settings.steps,
    out: str | os.PathLike[str] = "runs/model",
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
    start_from: str | os.PathLike[str] | None = None,
    quiet: bool = False,
) -> Result:
    """Trains a model and leaves a run in the folder `out`.

    `data` is a text file, a folder of text files, "stdlib", the Python source of this machine, or
    "task:NAME", made by rules. `tokens` left out are those of the task, or 256.
    `start_from` is the folder of a run of another program, whose weights the levels take by name.
    `nestdsl.training.settings.Settings` explains the numbers. `until` ends the run early, after
    that step, without changing its schedule; `nestdsl.resume` goes on with it, or with a run that
    was interrupted. Raises NestError where the data, the settings or the folder do not fit, N0104
    for an argument of another type, and `Interrupted`, a KeyboardInterrupt, for a run that was
    interrupted between two steps and left a checkpoint.

        result = nestdsl.train(nest.compile(), "text.txt", steps=500, out="runs/text")
    """
    require_model(model, "train")
    require_bool("`quiet`", quiet)
    if tokens is not None:
        require_whole("tokens", tokens)
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
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] = "runs/model",
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
    require_bool("`quiet`", quiet)
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
        taken = None if donor is None else take_weights(model, donor)
        prepare_folder(out)
        levels = StepLevels(model, settings.steps)
    compiled = isinstance(model.run, CompiledRun)
    imports = imports_of(model.plan)
    progress = Progress(0, data.source, data.fingerprint, {}, compiled, precision, imports)
    run = Run(model, levels, data, out, settings, progress, shown, until)
    with run.alone():
        prepare_folder(out)  # again: another process may have trained here since
        run.introduce("chosen for this machine", "" if taken is None else str(taken))
        before = run.measure(step=0)
        shown.held_out(0, before)
        run.progress = replace(progress, before=before)
        run.save()
        with Metrics(out) as written:
            written.write(step=0, **before)
            return run.go(written)


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
    run = Run(model, levels, data, out, settings, progress, shown, until)
    with run.alone():
        saved.take_over()
        with Metrics(out, progress.step) as written:
            run.introduce("as the run has it from its start", written.missing)
            return run.go(written, stream)


def prepare_folder(out: Path) -> None:
    """Makes the folder of a new run. Raises NestError N0504 if it holds a run or cannot be written."""
    for name in (*checkpoint.names(out), METRICS_FILE, checkpoint.PLAN_FILE):
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
