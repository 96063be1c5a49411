"""How fast a model is on this machine: a training step, a forward pass and one token, on random inputs."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nestdsl.diagnostics import NestError, fail
from nestdsl.runtime.compilation import CompiledRun
from nestdsl.runtime.compile_progress import Note, compiling_shown
from nestdsl.runtime.step_levels import NonFiniteGradient, StepLevels
from nestdsl.training.memory import require_step_memory, step_fits_memory
from nestdsl.training.settings import Settings

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians of one piece of work: the first run, which also compiles, stands apart."""

    first_seconds: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Speeds:
    """What was measured. step: loss, backward and optimizers, `batch` sequences of `tokens` tokens; forward:
    reading them; token: one more token of one sequence, with the state that `tokens` tokens left.
    peak_bytes: the most memory of the process, or of the accelerator; None where it cannot be told."""

    model: str
    compiled: bool
    device: str
    threads: int
    batch: int
    tokens: int
    steps: int
    parameters: int
    step: Speed
    forward: Speed
    token: Speed
    peak_bytes: int | None

    @property
    def tokens_per_second(self) -> float:
        """Of training."""
        return self.batch * self.tokens / self.step.seconds


def measure_speed(model: NestModule, settings: Settings, note: Note = lambda text: None) -> Speeds:
    """Trains `settings.steps` steps after a first one, then reads as often. The model's weights move.
    `note` is told what is compiled.

    Raises NestError N0202 for settings out of range, N0503 where a step does not fit into memory, and N0505
    where the program diverges on random inputs.
    """
    settings.verify()
    plan = model.plan
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    require_step_memory(model, settings)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with compiling_shown(model.run, note), step_fits_memory(settings):
        inputs, targets = _random(model, settings, device)
        step = _median(_step(model, inputs, targets), settings.steps, device)
        was_training = model.training
        model.eval()
        try:
            with torch.no_grad():
                forward = _median(lambda: model(inputs), settings.steps, device)
                _, state = model(inputs[:1])
                token = _median(lambda: model(inputs[:1, :1], state), settings.steps, device)
        finally:
            model.train(was_training)
    return Speeds(
        plan.model,
        isinstance(model.run, CompiledRun),
        str(device),
        torch.get_num_threads(),
        settings.batch,
        settings.tokens,
        settings.steps,
        plan.costs.parameters,
        step,
        forward,
        token,
        _peak_bytes(device),
    )


def _step(model: NestModule, inputs: Tensor, targets: Tensor) -> Callable[[], None]:
    levels, number = StepLevels(model, Settings.steps), 0

    def step() -> None:
        nonlocal number
        number += 1
        loss = model.loss(inputs, targets)
        loss.backward()
        if not math.isfinite(loss.item()):
            raise _diverged(f"the loss is {loss.item()}")
        try:
            levels.step(number, clip=Settings.clip)
        except NonFiniteGradient as error:
            raise _diverged(str(error)) from error

    return step


def _diverged(what: str) -> NestError:
    return fail("N0505", f"{what}, on random inputs", hint="lower learning rates, or the steps of memories")


def _random(model: NestModule, settings: Settings, device: torch.device) -> tuple[Tensor, Tensor]:
    """Inputs and targets of the shapes that the program says, drawn from the seed."""
    plan, generator = model.plan, torch.Generator().manual_seed(settings.seed)
    batch, tokens = settings.batch, settings.tokens
    if plan.input.takes == "ids":
        inputs = torch.randint(plan.input.size, (batch, tokens), generator=generator)
    else:
        inputs = torch.randn(batch, tokens, plan.input.size, generator=generator)
    if plan.train.objective == "cross_entropy":
        targets = torch.randint(plan.output_size, (batch, tokens), generator=generator)
    else:
        targets = torch.randn(batch, tokens, plan.output_size, generator=generator)
    return inputs.to(device), targets.to(device)


def _median(work: Callable[[], object], runs: int, device: torch.device) -> Speed:
    times = []
    for _ in range(1 + runs):
        begun = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begun)
    return Speed(times[0], statistics.median(times[1:]))


def _peak_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
