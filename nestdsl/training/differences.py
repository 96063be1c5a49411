"""Where two plans differ first, in words."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import Enum

from nestdsl.plan.plan import Plan
from nestdsl.records import Text

_NOT_COMPARED = ("source", "costs", "weights")
"""Where a program and its first weights lie, and estimates that may get better, change no model."""


def first_difference(saved: Plan, built: Plan) -> str:
    """The first thing in which the plans differ, with both values; empty if they are of the same model.

    The saved plan is "there" and the built one "here". Declared parameters come first, because
    the other differences mostly follow from them.
    """
    rest = (field.name for field in fields(Plan) if field.name not in ("model", "parameters", *_NOT_COMPARED))
    for name in ("model", "parameters", *rest):
        place = "" if name == "parameters" else name
        difference = _difference(_part(saved, name), _part(built, name), place)
        if difference:
            return difference
    return ""


def _part(plan: Plan, name: str) -> object:
    """A field of the plan, without the memories of optimizers, which follow from what they drive."""
    if name == "levels":
        return tuple(level for level in plan.levels if not level.owner)
    return getattr(plan, name)


def _difference(saved: object, built: object, place: str) -> str:
    """`place` is the path to the part that is compared; the result is empty if both are equal."""
    if saved == built:
        return ""
    if isinstance(saved, tuple) and isinstance(built, tuple):
        return _difference_in_tuple(saved, built, place)
    if is_dataclass(saved) and is_dataclass(built) and not isinstance(saved, Text):
        for field in fields(saved):
            part = _difference(
                getattr(saved, field.name), getattr(built, field.name), _path(place, field.name)
            )
            if part:
                return part
    return f"`{place}` is {_shown(saved)} there and {_shown(built)} here"


def _difference_in_tuple(saved: tuple[object, ...], built: tuple[object, ...], place: str) -> str:
    saved_names, built_names = [_name(part) for part in saved], [_name(part) for part in built]
    for name in saved_names:
        if name not in built_names:
            return f"`{_path(place, name)}` is there and not here"
    for name in built_names:
        if name not in saved_names:
            return f"`{_path(place, name)}` is here and not there"
    for before, now in zip(saved, built, strict=False):
        name = _name(before)
        if name == _name(now) and isinstance(before, tuple) and isinstance(now, tuple):
            before, now = before[1], now[1]
        part = _difference(before, now, _path(place, name))
        if part:
            return part
    return f"`{place}` has {len(saved)} entries there and {len(built)} here"


def _path(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _name(part: object) -> str:
    """What a part of a tuple is called: its name, the first of a pair, or itself."""
    if isinstance(part, tuple):
        return str(part[0])
    name = getattr(part, "name", None) or getattr(part, "result", None)
    return str(name if name is not None else part)


def _shown(value: object) -> str:
    text = f"`{value}`" if isinstance(value, str | Text | Enum) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
