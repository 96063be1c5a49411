"""Finished runs, one line of JSON each, so that an interrupted table goes on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from benchmarks.learning.jobs import Job, key_of
from benchmarks.learning.training import Outcome

FILE = "runs.jsonl"


class Store:
    """The runs in a folder, which is made for the first one. A line that is cut off does not count."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self._found: dict[str, Outcome] = {}
        if self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue
                self._found[record["key"]] = _outcome(record["outcome"])

    def __len__(self) -> int:
        return len(self._found)

    def get(self, job: Job) -> Outcome | None:
        return self._found.get(key_of(job))

    def add(self, job: Job, outcome: Outcome) -> None:
        key = key_of(job)
        self._found[key] = outcome
        record = {"key": key, "job": asdict(job), "outcome": outcome.as_dict()}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def _outcome(record: dict) -> Outcome:
    return Outcome(**{**record, "curve": tuple((step, value) for step, value in record["curve"])})
