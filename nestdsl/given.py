"""What Python's callers give, whatever the types say: N0104 for a value of another type. No torch here."""

from __future__ import annotations

import os

from nestdsl.diagnostics import NestError, fail
from nestdsl.ranges import shown


def wrong_type(what: str, value: object, give: str) -> NestError:
    """N0104 that names an argument, what was given, and what to `give` in its place."""
    return fail("N0104", f"{what} is {described(value)}", f"give {give}")


def described(value: object) -> str:
    """The type of a value, and the value itself where it is short: "the int 5", "a value of type `list`"."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class `{value.__name__}`"
    name = type(value).__name__
    if isinstance(value, bool | int | float | str | bytes):
        return f"the {name} {shown(value)}"
    return f"a value of type `{name}`"


def require_bool(what: str, value: object) -> None:
    """Raises NestError N0104 unless it is True or False."""
    if not isinstance(value, bool):
        raise wrong_type(what, value, "True or False")


def require_text(what: str, value: object, give: str) -> None:
    """Raises NestError N0104 unless it is a string."""
    if not isinstance(value, str):
        raise wrong_type(what, value, give)


def path_text(what: str, value: object, give: str) -> str:
    """A path as a string. Raises NestError N0104 unless it is a string or a path."""
    if isinstance(value, str):
        return value
    if not isinstance(value, os.PathLike):
        raise wrong_type(what, value, give)
    try:
        return os.fsdecode(value)
    except TypeError as error:  # its own path is none
        raise wrong_type(what, value, give) from error


def is_module_name(name: object) -> bool:
    """Whether it is the full name of a Python module, as `import` takes it."""
    return isinstance(name, str) and all(part.isidentifier() for part in name.split("."))
