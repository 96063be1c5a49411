"""Interrupts (Ctrl-C) that wait for a good moment. Imports next to nothing: it is needed first.

Where a process starts with interrupts ignored, as with `&` in a script, they stay ignored: that is how a
shell keeps the Ctrl-C for its foreground from ending what runs behind it. SIGTERM ends such a run, which
goes on from its last checkpoint with --resume.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """An interrupt of a run of training, which has left a checkpoint of `step` in its folder."""

    def __init__(self, step: int) -> None:
        super().__init__(f"interrupted at step {step}")
        self.step = step


@dataclass(slots=True)
class Held:
    """Whether an interrupt has come since they are held back."""

    interrupted: bool = False


@contextmanager
def interrupts_held(*, first_only: bool = False) -> Iterator[Held]:
    """Inside, an interrupt is only remembered; it is raised at the end.

    For what an interrupt would leave half done, such as the import of torch, which does not
    survive one. With `first_only`, the second interrupt is raised at once. Nothing is held back
    where nobody handles interrupts, or outside the main thread, where none arrive.
    """
    held = Held()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield held
        return

    def remember(number: int, frame: FrameType | None) -> None:
        if held.interrupted and first_only:
            before(number, frame)
        held.interrupted = True

    signal.signal(signal.SIGINT, remember)
    try:
        yield held
    finally:
        signal.signal(signal.SIGINT, before)
    if held.interrupted:
        before(signal.SIGINT, None)
