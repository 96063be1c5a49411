"""`metrics.jsonl`: one JSON object a line for each step, with nothing in it that depends on the clock.

Each has the `step`, the loss and `gradient_norm`, before it is clipped; `rate_scale`, the factor of the run's
own schedule, only where an optimizer follows it; and after some steps the held-out figures.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Self

from nestdsl.diagnostics import fail

FILE = "metrics.jsonl"


class Metrics:
    """Appends to the metrics of a run.

    Opening it for a run that continues after `step` drops the lines of later steps, and a last
    line that a kill cut short, so that no step stands there twice. Raises NestError N0504 where
    the file cannot be written.
    """

    def __init__(self, folder: Path, step: int | None = None) -> None:
        path = folder / FILE
        try:
            kept = _lines_up_to(path, step) if step is not None and path.exists() else []
            new = folder / f".{FILE}.new"
            new.write_text("".join(kept), encoding="utf-8")
            new.replace(path)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise fail("N0504", f"cannot write `{path}`: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, **values: float) -> None:
        """Writes one line and hands it to the system, so that it outlives this process."""
        try:
            self._file.write(json.dumps(values, allow_nan=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise fail("N0504", f"cannot write `{self._file.name}`: {error.strerror}") from error


def _lines_up_to(path: Path, step: int) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            is_kept = line.endswith("\n") and json.loads(line)["step"] <= step
        except (json.JSONDecodeError, KeyError):
            is_kept = False
        if is_kept:
            kept.append(line)
    return kept
