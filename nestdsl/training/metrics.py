"""`metrics.jsonl`: one JSON object a line for each step, with nothing in it that depends on the clock.

Each has the `step`, the loss and `gradient_norm`, before it is clipped; `rate_scale`, the factor of the run's
own schedule, only where an optimizer follows it; and after some steps the held-out figures.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import BinaryIO, Self

from nestdsl.diagnostics import NestError, fail
from nestdsl.files import NotAFileError, open_file
from nestdsl.training.staging import put_in_place, staging

FILE = "metrics.jsonl"


class Metrics:
    """Appends to the metrics of a run.

    Opening it for a run that continues after `step` drops the lines of later steps, and a last
    line that a kill cut short, so that no step stands there twice. `missing` says which steps before are
    not there. Nothing is written through a link. Raises NestError: N0502 for lines that are no records
    of steps, N0504 where the file cannot be written.
    """

    def __init__(self, folder: Path, step: int | None = None) -> None:
        self._path = folder / FILE
        self.missing = ""
        try:
            with staging(folder) as new, ExitStack() as opened:
                self._file = opened.enter_context((new / FILE).open("x", encoding="utf-8"))
                if step is not None:
                    self.missing = self._keep(step)
                self._file.flush()
                put_in_place(new / FILE, self._path)
                opened.pop_all()  # from here on it stays open
        except OSError as error:
            raise self._unwritable(error) from error

    def _keep(self, step: int) -> str:
        """Copies the lines up to a step; gives which are missing, in words."""
        last = -1
        try:
            with open_file(self._path) as file:
                for last, line in _records(file, self._path):
                    if last > step:
                        break
                    self._file.write(line)
        except FileNotFoundError:
            pass
        except NotAFileError as error:
            raise fail("N0502", f"`{self._path}` {error.strerror}", _MOVE) from error
        return f"`{self._path}` has nothing of steps {last + 1} to {step}" if last < step else ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, **values: float) -> None:
        """Writes one line and hands it to the system, so that it outlives this process."""
        try:
            self._file.write(json.dumps(values, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> NestError:
        return fail("N0504", f"cannot write `{self._path}`: {error.strerror}", _WRITABLE)


_WRITABLE = "make room there, or make the folder writable"
_MOST_BYTES = 1 << 20
"""How long a line may be: a record has a few hundred bytes."""
_LARGEST = sys.float_info.max
_MOVE = "move the file elsewhere: a new one begins where the run goes on"


def _records(file: BinaryIO, path: Path) -> Iterator[tuple[int, str]]:
    """The records of a file with their steps. Raises NestError N0502 for any other line but a cut last."""
    before = -1
    for number in count(1):
        line = file.readline(_MOST_BYTES)
        if not line.endswith(b"\n") and len(line) < _MOST_BYTES:
            return  # the end, or what a kill has left of a line
        step = _step_of(line)
        if step is None or step <= before:
            why = "no record of a step" if step is None else f"of step {step}, after one of step {before}"
            raise fail("N0502", f"line {number} of `{path}` is {why}", _MOVE)
        yield step, line.decode("utf-8")
        before = step


def _step_of(line: bytes) -> int | None:
    """The step of a record; None for what is none."""
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or type(record.get("step")) is not int:
        return None
    numbers = all(type(value) in (int, float) and abs(value) <= _LARGEST for value in record.values())
    return record["step"] if numbers and record["step"] >= 0 else None
