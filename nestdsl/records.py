"""Frozen dataclasses as plain data and back, checked field by field: what a file holds is only data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")

_MOST_BITS = 128
"""Of whole numbers: sizes have 63, and costs are products of them."""


TAG = "type"
"""Where a record may be of several classes, the field that says of which it is."""


class Text:
    """A value that is text in a file: `str` makes it, and `parse` reads it or raises ValueError."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Text:
        raise NotImplementedError


class MismatchError(Exception):
    """Data that is not of the type it should have; the message names the place."""


def plain(value: Any, hint: Any) -> Any:
    """A value of the type `hint` as dicts, lists, numbers and text. Fields at their defaults are left out."""
    if isinstance(value, Text):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        tag = {TAG: _tag(type(value))} if len(_records(hint)) > 1 else {}
        return tag | {
            field.name: plain(getattr(value, field.name), hints[field.name])
            for field in fields(value)
            if getattr(value, field.name) != field.default
        }
    if isinstance(value, tuple):
        item = get_args(hint)[0]
        if _is_pairs(hint):
            return {key: plain(part, get_args(item)[1]) for key, part in value}
        return [plain(part, item) for part in value]
    return value


def typed(data: Any, hint: type[T], place: str) -> T:
    """The data as the type says: dataclasses, tuples, mappings, unions and plain values.

    A whole number may stand for a float. Raises MismatchError, with the place, for any other type, for
    fields that are missing or unknown, and for numbers that are not finite.
    """
    return _typed(data, hint, place)


def _is_pairs(hint: Any) -> bool:
    """True for `tuple[tuple[key, value], ...]`, which is a mapping in a file."""
    arguments = get_args(hint)
    return (
        get_origin(hint) is tuple
        and len(arguments) == 2
        and arguments[1] is Ellipsis
        and get_origin(arguments[0]) is tuple
        and Ellipsis not in get_args(arguments[0])
    )


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _typed(data: Any, hint: Any, place: str) -> Any:
    if isinstance(hint, type) and issubclass(hint, Text | Enum):
        return _parsed(data, hint, place)
    if isinstance(hint, type) and is_dataclass(hint):
        return _record(data, hint, place)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and _is_pairs(hint):
        return tuple(_mapping(data, get_args(arguments[0]), place).items())
    if origin is Mapping:
        return _mapping(data, arguments, place)
    if origin is tuple:
        if not isinstance(data, list):
            raise MismatchError(f"{place} should be a list")
        return tuple(_typed(part, arguments[0], f"{place}[{number}]") for number, part in enumerate(data))
    if origin in (Union, UnionType):
        return _one_of(data, arguments, place)
    if type(data) is int and hint is float and data.bit_length() < 64:
        return float(data)
    if type(data) is not hint:
        raise MismatchError(f"{place} should be {hint.__name__}, not {_shown(data)}")
    return _finite(data, place)


def _parsed(data: Any, hint: type[Text] | type[Enum], place: str) -> Any:
    if not isinstance(data, str):
        raise MismatchError(f"{place} should be a word, not {_shown(data)}")
    try:
        return hint(data) if issubclass(hint, Enum) else hint.parse(data)
    except ValueError:
        known = f": {', '.join(str(one.value) for one in hint)}" if issubclass(hint, Enum) else ""
        raise MismatchError(f"{place} is {_shown(data)}, which is not known here{known}") from None


def _record(data: Any, hint: type, place: str) -> Any:
    hints = _hints(hint)
    needed = {field.name for field in fields(hint) if field.default is MISSING}
    if not isinstance(data, dict) or not needed <= set(data) <= set(hints):
        raise MismatchError(f"{place} should have the fields {', '.join(hints)}")
    return hint(**{name: _typed(part, hints[name], f"{place}.{name}") for name, part in data.items()})


def _mapping(data: Any, hints: tuple[Any, ...], place: str) -> dict[Any, Any]:
    if not isinstance(data, dict):
        raise MismatchError(f"{place} should be a mapping")
    key_hint, value_hint = hints
    return {
        _typed(key, key_hint, place): _typed(part, value_hint, f"{place}.{key}") for key, part in data.items()
    }


def _one_of(data: Any, options: tuple[Any, ...], place: str) -> Any:
    if data is None and NoneType in options:
        return None
    nested = _records(options)
    if len(nested) > 1:
        return _tagged(data, nested, place)
    if nested:
        return _typed(data, nested[0], place)
    if type(data) in options:
        return _finite(data, place)
    raise MismatchError(f"{place} should not be {_shown(data)}")


def _tagged(data: Any, options: list[Any], place: str) -> Any:
    """A record of one of several classes: which one stands under `TAG`."""
    known = {_tag(option): option for option in options}
    tag = data.get(TAG) if isinstance(data, dict) else None
    if not isinstance(tag, str) or tag not in known:
        raise MismatchError(f"{place} should have the `{TAG}` {' or '.join(known)}, not {_shown(tag)}")
    rest = {name: part for name, part in data.items() if name != TAG}
    return _record(rest, known[tag], place)


def _records(hint: Any) -> list[Any]:
    """The dataclasses of a union, or of its options."""
    options = hint if isinstance(hint, tuple) else get_args(hint)
    return [option for option in options if is_dataclass(option)]


def _tag(kind: type) -> str:
    """`RunBlock` as `run_block`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def _finite(value: Any, place: str) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise MismatchError(f"{place} should be a finite number, not {value}")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise MismatchError(f"{place} is a number of more than {_MOST_BITS} bits")
    return value


def _shown(data: Any) -> str:
    if isinstance(data, int) and data.bit_length() > _MOST_BITS:
        return "a very large number"  # of which Python would not even write the digits
    text = repr(data)
    return text if len(text) <= 40 else f"{text[:37]}..."
