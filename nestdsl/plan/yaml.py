"""The plan as YAML and back: stable, readable, loaded safely, and checked field by field."""

from __future__ import annotations

from typing import Any

import yaml

from nestdsl.diagnostics import fail
from nestdsl.plan.plan import FORMAT, Plan
from nestdsl.plan.verify import verify
from nestdsl.plan.wellformed import OddPlanError, shown
from nestdsl.records import MismatchError, plain, typed


def to_yaml(plan: Plan) -> str:
    """The plan's text; equal plans give equal texts."""
    return yaml.dump(
        plain(plan, Plan),
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
        found = shown(data.get("format")) if isinstance(data, dict) else None
        raise _unreadable(f"its format is {found}, this nestdsl reads format {FORMAT}")
    try:
        plan = typed(data, Plan, "plan")
        verify(plan)
    except (MismatchError, OddPlanError) as error:
        raise _unreadable(str(error)) from error
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
