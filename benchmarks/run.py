"""Runs a row in fresh processes, and gathers what they measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from importlib.util import find_spec
from pathlib import Path

from benchmarks.model import Figure, Row, judge
from benchmarks.table import Result
from benchmarks.worker import SAID

_LIMIT_SECONDS = 1800


def run_row(row: Row, quick: bool, threads: int, seconds: float, cpu_time: bool) -> Result:
    """The figures of a row. A peer that is missing, or fails, is a note and no end of the table."""
    contenders = [contender.name for contender in row.contenders(quick)]
    notes: list[str] = []
    present = []
    for name in contenders:
        peer = row.peers.get(name)
        if peer is not None and find_spec(peer) is None:
            notes.append(f"{name} was left out: {peer} is not installed")
        else:
            present.append(name)
    groups = [[name] for name in present] if row.isolated else [present]
    figures: list[Figure] = []
    for group in groups:
        found, fault = _in_fresh_process(row.key, group, quick, threads, seconds, cpu_time)
        figures += found
        if fault:
            notes.append(fault)
    judged = judge(row, {figure.name: figure for figure in figures})
    return Result(row.key, row.title, tuple(figures), judged, tuple(notes))


def _in_fresh_process(
    key: str, names: list[str], quick: bool, threads: int, seconds: float, cpu_time: bool
) -> tuple[list[Figure], str]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "figures.json")
        order = {
            "key": key,
            "names": names,
            "quick": quick,
            "threads": threads,
            "seconds": seconds,
            "cpu_time": cpu_time,
            "out": str(out),
        }
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps(order)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
        try:
            status, last = _watched(command, environment)
        except subprocess.TimeoutExpired:
            return [], f"{', '.join(names)} did not end within {_LIMIT_SECONDS} s"
        if not out.exists():
            last = last or f"exit status {status}"
            return [], f"{', '.join(names)} failed: {last}"
        found = json.loads(out.read_text(encoding="utf-8"))
        return [Figure(**{**figure, "times": tuple(figure["times"])}) for figure in found], ""


def _watched(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Runs a worker, and shows at once what it is doing. Gives its status and its last line."""
    last = ""
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as worker:
        late = threading.Event()

        def end() -> None:
            late.set()
            worker.kill()

        timer = threading.Timer(_LIMIT_SECONDS, end)
        timer.start()
        try:
            assert worker.stderr is not None
            for line in worker.stderr:
                last = line.strip() or last
                if line.startswith(SAID):
                    print(line.removeprefix(SAID), end="", file=sys.stderr, flush=True)
        finally:
            timer.cancel()
        status = worker.wait()
    if late.is_set():
        raise subprocess.TimeoutExpired(command, _LIMIT_SECONDS)
    return status, last
