"""Numbers that users give, and whether they can be what they are given for. No torch here.

Python's callers may give anything, whatever the types say.
"""

from __future__ import annotations

import math
import reprlib

from nestdsl.diagnostics import Diagnostics, NestError

_MOST = 2**63 - 1
"""The largest whole number that torch and files take."""


def verify_whole(found: Diagnostics, name: str, value: int, least: int = 1) -> None:
    """Reports N0202 unless it is a whole number of at least `least`, N0203 for one that is too large."""
    if not _is_whole(value) or value < least:
        hint = f"give a whole number of at least {least}"
        found.report("N0202", f"`{name}` is {shown(value)}", hint=hint)
    elif value > _MOST:
        found.report("N0203", f"`{name}` is {shown(value)}", hint="give a number of at most 2 ** 63 - 1")


def verify_number(found: Diagnostics, name: str, value: float, most: float = math.inf) -> None:
    """Reports N0203 unless it is a finite number from 0 to `most`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= min(most, _MOST):
        limits = "of at least 0" if most == math.inf else f"from 0 to {most:g}"
        found.report("N0203", f"`{name}` is {shown(value)}", hint=f"give a number {limits}")


def verify_seed(found: Diagnostics, value: int) -> None:
    """Reports N0203 unless it is a seed."""
    if not _is_whole(value) or not 0 <= value <= _MOST:
        hint = "give a whole number from 0 to 2 ** 63 - 1"
        found.report("N0203", f"`seed` is {shown(value)}", hint=hint)


def require_seed(value: int) -> None:
    """Raises NestError N0203 unless it is a seed."""
    found = Diagnostics()
    verify_seed(found, value)
    raise_any(found)


def require_whole(name: str, value: int, least: int = 1) -> None:
    """Raises NestError N0202 or N0203 unless it is a whole number of at least `least`."""
    found = Diagnostics()
    verify_whole(found, name, value, least)
    raise_any(found)


def raise_any(found: Diagnostics) -> None:
    """Raises NestError with all that was found, if anything was."""
    if found.has_errors:
        raise NestError(found)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def shown(value: object) -> str:
    """A value in a message: short, also where Python would refuse to write so many digits."""
    if isinstance(value, int) and value.bit_length() > 128:
        return f"{'-' * (value < 0)}2 ** {value.bit_length() - 1} or more"
    return reprlib.repr(value)
