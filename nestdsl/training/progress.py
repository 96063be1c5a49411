"""What a run of training shows while it goes: a bar in a terminal, else a line now and then."""

from __future__ import annotations

import statistics
import sys
import time
from collections import deque
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn

from nestdsl.characters import visible
from nestdsl.terminal import is_colored, is_terminal, styled
from nestdsl.training.figures import NO_UNIT, Figures, Unit, brief, sentence


class Speed:
    """How fast recent steps were: the median, so that steps that also compile do not count.

    The first step, which always prepares something, is left out; before the second nothing is known.
    """

    def __init__(self, tokens_per_step: int) -> None:
        self._tokens_per_step = tokens_per_step
        self._seconds: deque[float] = deque(maxlen=20)
        self._is_first = True
        self._last = time.perf_counter()

    def moved(self) -> None:
        """A step has ended."""
        now = time.perf_counter()
        if not self._is_first:
            self._seconds.append(now - self._last)
        self._is_first = False
        self._last = now

    def pause_ends(self) -> None:
        """What was not training since the last step does not count."""
        self._last = time.perf_counter()

    @property
    def seconds_per_step(self) -> float | None:
        return statistics.median(self._seconds) if self._seconds else None

    def tokens_per_second(self) -> str:
        """Written out; a dash while nothing is known."""
        seconds = self.seconds_per_step
        return f"{self._tokens_per_step / max(seconds, 1e-9):,.0f}" if seconds is not None else "-"

    def time_left(self, steps: int) -> str:
        """How long so many steps take, written as minutes:seconds; a dash while nothing is known."""
        seconds = self.seconds_per_step
        return _duration(steps * seconds) if seconds is not None else "-"


class Reporter:
    """Follows one run from its first step to its last. This one shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, step: int, steps: int, tokens_per_step: int, unit: Unit) -> None:
        """The run goes on after `step`, up to `steps`; its losses are in `unit`."""

    def note(self, text: str) -> None:
        """Something that the reader should know now."""

    def held_out(self, step: int, figures: Figures) -> None:
        """What was measured after a step."""

    def moved(self, step: int, loss: float) -> None:
        """A step is done; `loss` is in the unit of the run."""


class Lines(Reporter):
    """A plain line at each held-out measurement and at each twentieth of the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = 0
        self._unit = NO_UNIT
        self._speed = Speed(0)

    def start(self, step: int, steps: int, tokens_per_step: int, unit: Unit) -> None:
        self._steps = steps
        self._unit = unit
        self._speed = Speed(tokens_per_step)

    def note(self, text: str) -> None:
        _print(self._console, text)

    def held_out(self, step: int, figures: Figures) -> None:
        _print(self._console, f"step {step}: {sentence(figures)}")
        self._speed.pause_ends()

    def moved(self, step: int, loss: float) -> None:
        self._speed.moved()
        if step % max(1, self._steps // 20) == 0 or step == self._steps:
            text = f"step {step}/{self._steps}: loss {loss:.3f} {self._unit.words}"
            if self._speed.seconds_per_step is not None:
                left = self._speed.time_left(self._steps - step)
                text += f", {self._speed.tokens_per_second()} tokens/s, {left} left"
            _print(self._console, text)


class Bar(Reporter):
    """One line in a terminal that moves: loss, held-out bits per byte, tokens per second, time left."""

    def __init__(self, console: Console) -> None:
        self._progress = _moving(
            console,
            # Together not wider than 80 columns; only the bar itself can shrink.
            BarColumn(bar_width=20),
            _text("{task.completed}/{task.total}"),
            _text("loss {task.fields[loss]} {task.fields[held_out]}"),
            _text("{task.fields[speed]} tokens/s"),
            _text("{task.fields[left]} left"),
        )
        self._task: TaskID | None = None
        self._steps = 0
        self._unit = NO_UNIT
        self._speed = Speed(0)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, step: int, steps: int, tokens_per_step: int, unit: Unit) -> None:
        self._steps = steps
        self._unit = unit
        self._speed = Speed(tokens_per_step)
        self._task = self._progress.add_task(
            "training", total=steps, completed=step, loss="-", held_out="", speed="-", left="-"
        )
        self._progress.start()

    def note(self, text: str) -> None:
        _print(self._progress.console, text)

    def held_out(self, step: int, figures: Figures) -> None:
        assert self._task is not None, "the run has not started"
        self._progress.update(self._task, completed=step, held_out=brief(figures, self._unit))
        self._speed.pause_ends()

    def moved(self, step: int, loss: float) -> None:
        assert self._task is not None, "the run has not started"
        self._speed.moved()
        self._progress.update(
            self._task,
            completed=step,
            loss=f"{loss:.3f}",
            speed=self._speed.tokens_per_second(),
            left=self._speed.time_left(self._steps - step),
        )


class Measuring:
    """Follows a measurement: one line that moves in a terminal, elsewhere a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._what, self._tenth = "", 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            spinner = SpinnerColumn("line"), _text("{task.description}")
            self._progress = _moving(self._console, *spinner, transient=True)
            self._task = self._progress.add_task("measuring…")
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def note(self, text: str) -> None:
        _print(self._console, text)

    def __call__(self, what: str, done: int, of: int) -> None:
        """`done` of `of` batches are measured."""
        text = f"measuring {what}: {done}/{of} batches"
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=visible(text))
            return
        if what != self._what:
            self._what, self._tenth = what, 0
        if 10 * done // of > self._tenth:
            self._tenth = 10 * done // of
            self.note(text)


def measuring(quiet: bool = False) -> Measuring:
    """Shows on standard error how far a measurement is, or nothing."""
    return Measuring(_console(quiet))


def reporter(quiet: bool = False) -> Reporter:
    """Shows progress on standard error: a bar in a terminal, plain lines elsewhere, or nothing."""
    if quiet:
        return Reporter()
    console = _console()
    return Bar(console) if console.is_terminal else Lines(console)


def _console(quiet: bool = False) -> Console:
    """Standard error, to which nothing is written where it is closed."""
    stream = sys.stderr
    if stream is None:
        return Console(quiet=True, force_terminal=False)
    return Console(
        file=styled(stream),
        quiet=quiet,
        force_terminal=is_terminal(stream),
        no_color=not is_colored(stream),
    )


def _print(console: Console, text: str) -> None:
    """A line of text, whatever is in it; in a terminal it is broken between words."""
    console.print(visible(text), highlight=False, markup=False, soft_wrap=not console.is_terminal)


def _moving(console: Console, *columns: ProgressColumn, transient: bool = False) -> Progress:
    """A line that moves. What else is printed meanwhile does not go through rich, which lets escapes pass."""
    return Progress(
        *columns, console=console, transient=transient, redirect_stdout=False, redirect_stderr=False
    )


def _text(format: str) -> TextColumn:
    return TextColumn(format, markup=False)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
