"""Runs the contenders of one row side by side: A, B, A, B, …, in one process."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.model import Contender, Figure, Work

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure(
    contenders: Sequence[Contender],
    repeats: int,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    say: Callable[[str], None] = lambda text: None,
) -> list[Figure]:
    """Median, compile time and peak memory of each.

    Everything is built and run once before anything is timed. Then come rounds in which each runs once, up to
    `repeats`, or until `seconds` have passed, but one at least. With `repeats` 0 the first run is all.
    `say` is told what is done.
    """
    works: list[Work] = []
    compile_seconds: list[float] = []
    for number, contender in enumerate(contenders, 1):
        say(f"preparing {number} of {len(contenders)}: {contender.name}")
        started = time.perf_counter()
        work = contender.prepare()
        work()
        compile_seconds.append(time.perf_counter() - started)
        works.append(work)
    if repeats == 0:
        return [
            Figure(contender.name, built, (), built, None, contender.precision)
            for contender, built in zip(contenders, compile_seconds, strict=True)
        ]
    say(f"timing, up to {repeats} rounds of up to {seconds:.0f} s in all")
    times: list[list[float]] = [[] for _ in works]
    peaks: list[float | None] = [None for _ in works]
    started = time.perf_counter()
    while len(times[0]) < repeats and (not times[0] or time.perf_counter() - started < seconds):
        for number, work in enumerate(works):
            gc.collect()
            with _peak() as peak:
                start = clock()
                work()
                times[number].append((clock() - start) / contenders[number].share)
            peaks[number] = peak()
    return [
        Figure(contender.name, statistics.median(took), tuple(took), built, most, contender.precision)
        for contender, took, built, most in zip(contenders, times, compile_seconds, peaks, strict=True)
    ]


@contextmanager
def _peak() -> Iterator[Callable[[], float | None]]:
    """The most memory, in MiB, that this process held during the block beyond what it held before."""
    before = _held("VmRSS") if _reset() else None

    def peak() -> float | None:
        most = _held("VmHWM")
        return None if before is None or most is None else max(0.0, most - before)

    yield peak


def whole_peak() -> float | None:
    """The most memory, in MiB, that this process ever held."""
    return _held("VmHWM")


def _reset() -> bool:
    """Makes the kernel forget the peak so far; False where it has no such switch."""
    try:
        _CLEAR.write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _held(name: str) -> float | None:
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith(f"{name}:")), None)
    return None if found is None else int(found.split()[1]) / 1024
