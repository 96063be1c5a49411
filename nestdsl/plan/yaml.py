"""The plan as YAML and back: stable, readable, loaded safely, and checked field by field."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from nestdsl.diagnostics import fail
from nestdsl.plan.plan import FORMAT, Plan


def to_yaml(plan: Plan) -> str:
    """The plan's text; equal plans give equal texts."""
    return yaml.dump(
        _plain(plan, Plan),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=110,
        default_flow_style=False,
    )


def from_yaml(text: str) -> Plan:
    """The plan that a text holds; raises NestError N0502 if it holds none of this format."""
    try:
        _check_plain(text)
        data = yaml.load(text, Loader=_Loader)  # noqa: S506  a safe loader, in C where there is one
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2020-13-45
        raise _unreadable(f"it is not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else None
        raise _unreadable(f"its format is {found}, this nestdsl reads format {FORMAT}")
    try:
        plan = _typed(data, Plan, "plan")
    except _MismatchError as error:
        raise _unreadable(str(error)) from error
    assert isinstance(plan, Plan)
    if not plan.bodies:
        raise _unreadable("plan.bodies is empty")
    return plan


def _check_plain(text: str) -> None:
    """Refuses what no plan has and what could cost a lot: deep nesting, aliases and tags.

    The parser is iterative, but what builds data from it recurses, in C.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        match event:
            case yaml.CollectionStartEvent():
                depth += 1
            case yaml.CollectionEndEvent():
                depth -= 1
        has_tag = isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None
        if depth > _MAX_DEPTH or isinstance(event, yaml.AliasEvent) or has_tag:
            place = event.start_mark
            raise _unreadable(f"line {place.line + 1} has what no plan has: deep nesting, an alias or a tag")


class _MismatchError(Exception):
    pass


def _unreadable(why: str) -> Exception:
    return fail("N0502", f"this is no plan that this nestdsl can read: {why}", "compile the program again")


class _Dumper(yaml.SafeDumper):
    """Short lists and mappings of plain values on one line."""


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_LINE = 96
_MAX_DEPTH = 20


def _width(node: yaml.Node) -> int:
    """Characters that a node takes on one line; beyond _LINE if it holds mappings within lists."""
    match node:
        case yaml.ScalarNode():
            return len(str(node.value)) + 2
        case yaml.SequenceNode():
            return sum(_width(child) for child in node.value) + 2
        case yaml.MappingNode():
            return sum(_width(key) + _width(value) + 2 for key, value in node.value) + 2
        case _:
            return _LINE + 1


def _represent_list(dumper: yaml.SafeDumper, data: list[Any]) -> yaml.Node:
    node = dumper.represent_sequence("tag:yaml.org,2002:seq", data)
    node.flow_style = all(isinstance(child, yaml.ScalarNode) for child in node.value)
    return node


def _represent_dict(dumper: yaml.SafeDumper, data: dict[Any, Any]) -> yaml.Node:
    node = dumper.represent_mapping("tag:yaml.org,2002:map", data)
    node.flow_style = _width(node) <= _LINE
    return node


_Dumper.add_representer(list, _represent_list)
_Dumper.add_representer(dict, _represent_dict)
_Dumper.ignore_aliases = lambda self, data: True  # type: ignore[method-assign,assignment]


def _is_mapping(hint: Any) -> bool:
    """True for `tuple[tuple[key, value], ...]`, which is a mapping in YAML."""
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


def _plain(value: Any, hint: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        hints = _hints(type(value))
        return {
            field.name: _plain(getattr(value, field.name), hints[field.name])
            for field in fields(value)
            if getattr(value, field.name) != field.default
        }
    if isinstance(value, tuple):
        item = get_args(hint)[0]
        if _is_mapping(hint):
            return {key: _plain(part, get_args(item)[1]) for key, part in value}
        return [_plain(part, item) for part in value]
    return value


def _typed(data: Any, hint: Any, place: str) -> Any:
    """The data as the type hint says; raises _MismatchError with the place where it differs."""
    if isinstance(hint, type) and is_dataclass(hint):
        hints = _hints(hint)
        needed = {field.name for field in fields(hint) if field.default is MISSING}
        if not isinstance(data, dict) or not needed <= set(data) <= set(hints):
            raise _MismatchError(f"{place} should have the fields {', '.join(hints)}")
        return hint(**{name: _typed(part, hints[name], f"{place}.{name}") for name, part in data.items()})
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if _is_mapping(hint):
            key_hint, value_hint = get_args(item)
            if not isinstance(data, dict):
                raise _MismatchError(f"{place} should be a mapping")
            return tuple(
                (_typed(key, key_hint, place), _typed(part, value_hint, f"{place}.{key}"))
                for key, part in data.items()
            )
        if not isinstance(data, list):
            raise _MismatchError(f"{place} should be a list")
        return tuple(_typed(part, item, f"{place}[{number}]") for number, part in enumerate(data))
    if get_origin(hint) in (Union, UnionType):
        options = get_args(hint)
        if data is None and NoneType in options:
            return None
        nested = [option for option in options if is_dataclass(option)]
        if nested:
            return _typed(data, nested[0], place)
        if type(data) in options:
            return data
        raise _MismatchError(f"{place} should not be {data!r}")
    if type(data) is not hint:
        raise _MismatchError(f"{place} should be {hint.__name__}, not {data!r}")
    return data
