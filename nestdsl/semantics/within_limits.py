"""What goes over a limit ends the elaboration of a program quietly, once its N0004 is reported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nestdsl.diagnostics import LIMIT, Diagnostics, TooManyError
from nestdsl.source import Span


class LimitReachedError(Exception):
    """Ends an elaboration whose N0004 is already reported."""


@contextmanager
def within_limits(diagnostics: Diagnostics, program: Span) -> Iterator[None]:
    """Ends quietly what goes over a limit: the N0004 that says so is reported."""
    try:
        yield
    except (LimitReachedError, TooManyError):
        pass
    except RecursionError:
        diagnostics.report(
            LIMIT,
            "the expressions and blocks of this program stand too deep in one another",
            program,
            "name parts of long expressions with `flow`, and use fewer blocks within blocks",
        )
