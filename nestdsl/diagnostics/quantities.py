"""Numbers as people read them, in every room."""

from __future__ import annotations

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def counted(count: int, noun: str) -> str:
    """
    >>> counted(1, "step"), counted(1024, "step")
    ('1 step', '1,024 steps')
    """
    return f"{count:,} {noun}{'s' * (count != 1)}"


def in_bytes(count: int) -> str:
    """
    >>> in_bytes(768), in_bytes(16_384), in_bytes(4_096_000)
    ('768 bytes', '16 KiB', '3.906 MiB')
    """
    value, unit = float(count), 0
    while value >= 1024 and unit + 1 < len(_UNITS):
        value, unit = value / 1024, unit + 1
    return f"{value:.4g} {_UNITS[unit]}"


def as_written(value: object) -> str:
    """A value as a program has it: `true`, `0.001`, `relu`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
