"""Runs a program that draws, which may do anything but draw."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass

_ERROR_BYTES = 4096
"""So much of what the program says of its errors is read."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """How a program ended: its exit status (negative for a signal), and what it wrote."""

    status: int
    picture: bytes
    errors: str


class DrawingStopped(Exception):
    """The program took too long, or wrote too much."""


def run_drawing(command: list[str], dot: bytes, seconds: float, most_bytes: int) -> Drawn:
    """Gives a DOT text to a program. Raises OSError if it cannot be run, DrawingStopped if it does not end.

    All goes through files: a pipe stays open as long as any process that the program has started.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(dot)
        given.seek(0)
        process = subprocess.Popen(command, stdin=given, stdout=out, stderr=err, start_new_session=True)
        try:
            deadline = time.monotonic() + seconds
            while not _ended(process):
                if os.fstat(out.fileno()).st_size + os.fstat(err.fileno()).st_size > most_bytes:
                    raise DrawingStopped(f"it wrote more than {most_bytes // 2**20:,} MiB")
                if time.monotonic() > deadline:
                    raise DrawingStopped(f"it did not end within {seconds:g} seconds")
        finally:
            _end(process)
        out.seek(0)
        err.seek(0)
        return Drawn(
            process.returncode, out.read(most_bytes), err.read(_ERROR_BYTES).decode(errors="replace")
        )


def _ended(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=0.1)
    except subprocess.TimeoutExpired:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a program that still runs, with all that it has started."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)  # a group of its own: see `start_new_session`
    else:
        process.kill()
    process.wait()
