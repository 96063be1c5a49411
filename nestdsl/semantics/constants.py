"""Values that are known at compile time, and what stands for those that are not."""

from __future__ import annotations


class Unknown:
    """What stands for a value whose mistake is already reported, or that only a caller knows."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()
Constant = int | float | bool | str


def is_number(value: object) -> bool:
    """True for whole and other numbers; truths are not numbers."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def describe(value: object) -> str:
    """A value as messages show it."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"'
        case float():
            return f"{value:g}"
        case _:
            return str(value)
