"""Says what is being compiled, so that minutes do not pass in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from nestdsl.runtime.compile_cache import cache_is_written, use_compile_cache
from nestdsl.runtime.run import PLAIN, Run

if TYPE_CHECKING:
    from torch._dynamo.callback import CallbackArgs

Note = Callable[[str], None]

_running: ContextVar[str] = ContextVar("the unit that runs now", default="")
_shown: ContextVar[_Shown | None] = ContextVar("what is shown", default=None)


@contextmanager
def unit_runs(name: str) -> Iterator[None]:
    """What is compiled inside is the unit `name`."""
    before = _running.set(name)
    try:
        yield
    finally:
        _running.reset(before)


def kernels_are_compiled(name: str) -> None:
    """Says, once, that kernels of `name` are compiled now."""
    shown = _shown.get()
    if shown is not None:
        shown.kernels(name)


@contextmanager
def compiling_shown(run: Run | None, note: Note) -> Iterator[None]:
    """Inside, `note` is told of each unit of a compiled run just before it is compiled, and of kernels;
    without a run, of the units of any.

    A unit is compiled when it runs first, and once more for its backward pass; and again for other shapes.
    Raises NestError N0504 where that cannot be written.
    """
    if run is PLAIN:
        yield
        return
    use_compile_cache()
    from torch._dynamo.callback import callback_handler

    shown = _Shown(run, note)
    callback_handler.register_start_callback(shown.starts)
    before = _shown.set(shown)
    try:
        with cache_is_written():
            yield
    finally:
        _shown.reset(before)
        callback_handler.remove_start_callback(shown.starts)


class _Shown:
    """Counts what is compiled."""

    def __init__(self, run: Run | None, note: Note) -> None:
        self._note, self._units = note, 0 if run is None else run.unit_count
        self._numbers: dict[str, int] = {}
        self._graphs: dict[str, tuple[str, str]] = {}
        """By the ids of torch: what each graph is, as it is shown for its two passes."""

        self._kernels: set[str] = set()

    def kernels(self, name: str) -> None:
        if name not in self._kernels:
            self._kernels.add(name)
            self._note(f"compiling {name}")

    def starts(self, arguments: CallbackArgs) -> None:
        graph, name = str(arguments.compile_id), _running.get()
        if graph in self._graphs:
            self._note(f"compiling {self._graphs[graph][1]}")
        elif name:
            again = name in self._numbers
            number = self._numbers.setdefault(name, len(self._numbers) + 1)
            count = f"{number} of {self._units}" if number <= self._units else f"{number}"
            place = f"again, for other shapes: {name}" if again else f"{count}: {name}"
            self._graphs[graph] = place, f"{place}, its backward pass"
            self._note(f"compiling {place}")
