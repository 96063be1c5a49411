"""Sizes, counts and optimizers in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nestdsl.diagnostics.quantities import as_written, in_bytes
from nestdsl.graph.nodes import OptimizerUse
from nestdsl.plan.plan import OrderedLevel
from nestdsl.vocabulary.signatures import Shapes
from nestdsl.vocabulary.terms import Line


def optimizer(use: OptimizerUse) -> str:
    """`adamw(lr = 0.001, beta1 = 0.9)`: every argument; flows as `step = flow rate` is for the caller."""
    given = [f"{name} = {as_written(one)}" for name, one in use.arguments if one is not None]
    return f"{use.name}({', '.join(given)})"


def shapes(shapes: Shapes) -> str:
    """`weight 16 × 16, bias 16`."""
    return ", ".join(f"{name} {' × '.join(map(str, shape))}" for name, shape in shapes)


def by_name(members: Iterable[tuple[str, Line]]) -> tuple[Line, ...]:
    """One line for each distinct description, with the names it fits if there are several."""
    names: dict[Line, list[str]] = {}
    for name, description in members:
        names.setdefault(description, []).append(name)
    if len(names) == 1:
        return tuple(names)
    return tuple((*description, f": {', '.join(fitting)}") for description, fitting in names.items())


def state(level: OrderedLevel, parts: Sequence[str] = ()) -> str:
    """How much a level keeps for each sequence, and of which parts that consists."""
    amount = _state(level)
    return f"{amount}: {', '.join(parts)}" if parts and amount != _NO_STATE else amount


_NO_STATE = "none"


def _state(level: OrderedLevel) -> str:
    copies = " in each copy" if level.copies > 1 else ""
    if level.state_bytes_per_token:
        return f"{in_bytes(level.state_bytes_per_token)} for each token read{copies}, in float32"
    if level.state_bytes_per_sequence:
        return f"{in_bytes(level.state_bytes_per_sequence)} for each sequence{copies}, in float32"
    return _NO_STATE


def parameters(level: OrderedLevel) -> str:
    """How many numbers are learned across sequences."""
    if not level.parameters:
        return "none"
    each = f"{level.parameters:,}"
    return f"{level.copies} × {each}" if level.copies > 1 else each


def in_brackets(said: str) -> str:
    """`4` of `truncated(4)`."""
    return said.partition("(")[2].removesuffix(")")
