"""The syntax tree as indented text, one node a line, for people and for tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from nestdsl.source import Span
from nestdsl.syntax.ast import Program


def dump(program: Program) -> str:
    """Every node with its class, place (line:column) and values."""
    return "\n".join(_lines(program, "", 0)) + "\n"


def _lines(node: Any, label: str, depth: int) -> Iterator[str]:
    values: list[str] = []
    children: list[tuple[str, Any]] = []
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, Span):
            continue
        if is_dataclass(value):
            children.append((field.name, value))
        elif isinstance(value, tuple):
            children += [(field.name, part) for part in value]
        elif value is not None:
            values.append(f"{field.name}={value!r}")
    prefix = f"{label}: " if label else ""
    parts = [f"{'  ' * depth}{prefix}{type(node).__name__}", f"{node.span.line}:{node.span.column}", *values]
    yield " ".join(parts)
    for name, child in children:
        yield from _lines(child, name, depth + 1)
