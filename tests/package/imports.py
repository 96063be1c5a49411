"""Which modules of a package import which others, read from their text."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

import nestdsl

PACKAGE = Path(nestdsl.__file__).parent


def modules(folder: Path) -> dict[str, str]:
    """The text of every module of a package by its name."""
    found: dict[str, str] = {}
    for path in folder.rglob("*.py"):
        parts = [folder.name, *path.relative_to(folder).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text("utf-8")
    return found


def imported(text: str, names: Iterable[str]) -> set[str]:
    """Those of these modules that a text imports, anywhere in it: for types alone and in functions too.

    `from a import b` imports the module `a.b` if there is one, and otherwise the module `a`.
    """
    names, found = set(names), set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(module), level=0):
                inner = {f"{module}.{alias.name}" for alias in node.names}
                found |= (inner & names) if inner <= names else (inner & names) | {module}
            case ast.ImportFrom():
                raise AssertionError("the package imports its modules by their whole names")
    return found & names
