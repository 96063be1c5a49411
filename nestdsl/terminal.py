"""The standard streams, as a terminal can take them: the one place through which printed text goes.

While a command runs, `sys.stdout` and `sys.stderr` are a `Shown`. Whatever prints to them (a command,
argparse, a warning, a traceback, a library) can neither drive the terminal nor fail at a character:

- control characters are shown as escapes, so that a name in a file or a checkpoint stays text; what brings
  colors or a moving bar of its own, and has made the text in it visible, writes to `styled(stream)`;
- a character that the stream cannot encode is shown in ASCII: `->` for →, `\\xe9` for é;
- standard output that cannot be written is NestError N0504, and standard error that cannot be written,
  or is closed, stops nothing.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TextIO, cast

from nestdsl.characters import KEPT, in_ascii, visible, without_controls

_ERRORS = "nestdsl.ascii"
"""The name of the error handler of codecs that writes `->` for →."""

_DEFAULT_COLUMNS = 80


@contextmanager
def standard_streams() -> Iterator[None]:
    """Inside, standard output and standard error are as this file says; at the end, both are flushed."""
    codecs.register_error(_ERRORS, _encodable)
    _occupy_closed_streams()
    before = sys.stdout, sys.stderr
    out, err = (
        stream or open(number, "w", closefd=False, encoding="utf-8")  # noqa: SIM115  stays open, as they do
        for number, stream in ((1, cast("TextIO | None", sys.stdout)), (2, cast("TextIO | None", sys.stderr)))
    )
    errors = [(stream, stream.errors) for stream in (out, err) if isinstance(stream, io.TextIOWrapper)]
    for stream, _ in errors:
        stream.reconfigure(errors=_ERRORS)
    sys.stdout = cast(TextIO, Shown(out, _refuse))
    sys.stderr = cast(TextIO, Shown(err, _ignore))
    try:
        yield
    finally:
        for stream in (out, err):
            try:
                stream.flush()
            except OSError:
                discard(stream)
        sys.stdout, sys.stderr = before
        for stream, name in errors:
            stream.reconfigure(errors=name)


class ReaderGone(Exception):
    """Nobody reads standard output any more, as after `| head`."""


class Shown:
    """A standard stream on which control characters are shown as escapes, unless it is `styled`.

    `failed` is given the error where the stream cannot be written. All else is that of the stream below.
    """

    def __init__(self, below: TextIO, failed: Callable[[OSError], None], *, is_styled: bool = False) -> None:
        self._below = below
        self._failed = failed
        self._is_styled = is_styled

    @property
    def styled(self) -> Shown:
        """The same stream, on which escapes that bring color reach the terminal."""
        return Shown(self._below, self._failed, is_styled=True)

    def write(self, text: str) -> int:
        try:
            self._below.write(text if self._is_styled else _shown(text, self._below.isatty()))
        except OSError as error:
            self._failed(error)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        try:
            self._below.flush()
        except OSError as error:
            self._failed(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._below, name)


def styled(stream: TextIO) -> TextIO:
    """The stream for text with colors of its own, in which all else has been made visible."""
    return cast(TextIO, stream.styled) if isinstance(stream, Shown) else stream


def is_terminal(stream: TextIO) -> bool:
    """Whether lines can be moved on what shows this stream: a terminal, and not a dumb one."""
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def is_colored(stream: TextIO) -> bool:
    """Whether colors are wanted: NO_COLOR forbids them, FORCE_COLOR asks for them; empty, neither counts."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or is_terminal(stream)


def columns(stream: TextIO) -> int | None:
    """The width of the terminal that shows this stream; None where none does."""
    if not stream.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_COLUMNS
    except (OSError, ValueError):  # no size is known; or a stream of Python's, without a file
        return _DEFAULT_COLUMNS


def discard(stream: TextIO) -> None:
    """What is written to this stream from now on is lost, as is what waits in it."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stream of Python's, without a file
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


# --- what is written -----------------------------------------------------------------------


def _shown(text: str, in_terminal: bool) -> str:
    """Elsewhere than in a terminal, odd spaces and marks of direction stay: another program may read them."""
    if text.isprintable():
        return text
    lines = text.split("\r\n")
    return "\r\n".join(visible(line, KEPT) if in_terminal else without_controls(line) for line in lines)


def _encodable(error: UnicodeError) -> tuple[str, int]:
    """The error handler of codecs: what the stream cannot encode, in ASCII; and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return in_ascii(error.object[error.start : error.end]), error.end


# --- what cannot be written ----------------------------------------------------------------


def _occupy_closed_streams() -> None:
    """Gives the numbers of closed streams to files that nothing can be lost in.

    Else the next file that is opened gets such a number, and a library that writes to standard error writes
    into it. What is written to standard output fails, as it must: it is a result that nobody gets.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, mode)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)


def _refuse(error: OSError) -> NoReturn:
    """Raises NestError N0504, or ReaderGone."""
    discard(sys.stdout)  # so that what waits in it does not fail once more when Python ends
    if isinstance(error, BrokenPipeError):
        raise ReaderGone from error
    from nestdsl.diagnostics import fail

    reason = "it is closed" if error.errno == errno.EBADF else error.strerror
    raise fail(
        "N0504",
        f"standard output cannot be written: {reason}",
        "send it elsewhere, with `>` or, where a command has it, with -o",
    ) from error


def _ignore(error: OSError) -> None:
    """What is lost are words about a run, never its result."""
