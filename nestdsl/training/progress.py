"""What a run of training shows while it goes: a bar in a terminal, else a line now and then."""

from __future__ import annotations

import statistics
import time
from collections import deque
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class Reporter(Protocol):
    """Follows one run from its first step to its last."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def start(self, step: int, steps: int, tokens_per_step: int) -> None:
        """The run goes on after `step`, up to `steps`."""
        ...

    def held_out(self, step: int, bits_per_byte: float) -> None: ...

    def moved(self, step: int, bits_per_byte: float) -> None:
        """A step is done; `bits_per_byte` is its loss."""
        ...


class Speed:
    """How fast recent steps were: the median, so that steps that also compile do not count."""

    def __init__(self, tokens_per_step: int) -> None:
        self._tokens_per_step = tokens_per_step
        self._seconds: deque[float] = deque(maxlen=20)
        self._last = time.perf_counter()

    def moved(self) -> None:
        """A step has ended."""
        now = time.perf_counter()
        self._seconds.append(now - self._last)
        self._last = now

    def pause_ends(self) -> None:
        """What was not training since the last step does not count."""
        self._last = time.perf_counter()

    @property
    def seconds_per_step(self) -> float:
        return statistics.median(self._seconds)

    @property
    def tokens_per_second(self) -> float:
        return self._tokens_per_step / self.seconds_per_step


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def start(self, step: int, steps: int, tokens_per_step: int) -> None:
        pass

    def held_out(self, step: int, bits_per_byte: float) -> None:
        pass

    def moved(self, step: int, bits_per_byte: float) -> None:
        pass


class Lines(Quiet):
    """A plain line at each held-out measurement and at each twentieth of the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps = 0
        self._speed = Speed(0)

    def start(self, step: int, steps: int, tokens_per_step: int) -> None:
        self._steps = steps
        self._speed = Speed(tokens_per_step)

    def held_out(self, step: int, bits_per_byte: float) -> None:
        self._print(f"step {step}: held-out {bits_per_byte:.3f} bits per byte")
        self._speed.pause_ends()

    def moved(self, step: int, bits_per_byte: float) -> None:
        self._speed.moved()
        if step % max(1, self._steps // 20) == 0 or step == self._steps:
            left = _duration((self._steps - step) * self._speed.seconds_per_step)
            self._print(
                f"step {step}/{self._steps}: loss {bits_per_byte:.3f} bits per byte, "
                f"{self._speed.tokens_per_second:,.0f} tokens/s, {left} left"
            )

    def _print(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class Bar(Quiet):
    """One line in a terminal that moves: loss, held-out bits per byte, tokens per second, time left."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("loss {task.fields[loss]}  held-out {task.fields[held_out]} bits/byte"),
            TextColumn("{task.fields[speed]} tokens/s"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
        )
        self._task: TaskID | None = None
        self._speed = Speed(0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def start(self, step: int, steps: int, tokens_per_step: int) -> None:
        self._speed = Speed(tokens_per_step)
        self._task = self._progress.add_task(
            "training", total=steps, completed=step, loss="-", held_out="-", speed="-"
        )
        self._progress.start()

    def held_out(self, step: int, bits_per_byte: float) -> None:
        assert self._task is not None, "the run has not started"
        self._progress.update(self._task, completed=step, held_out=f"{bits_per_byte:.3f}")
        self._speed.pause_ends()

    def moved(self, step: int, bits_per_byte: float) -> None:
        assert self._task is not None, "the run has not started"
        self._speed.moved()
        loss, speed = f"{bits_per_byte:.3f}", f"{self._speed.tokens_per_second:,.0f}"
        self._progress.update(self._task, completed=step, loss=loss, speed=speed)


def reporter(quiet: bool = False) -> Reporter:
    """Shows progress on standard error: a bar in a terminal, plain lines elsewhere, or nothing."""
    console = Console(stderr=True)
    if quiet:
        return Quiet()
    return Bar(console) if console.is_terminal else Lines(console)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
