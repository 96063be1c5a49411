"""The steps of an elementwise stage as assignments in the language of a kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nestdsl.plan.wellformed import is_number
from nestdsl.runtime.functions import POINTWISE
from nestdsl.runtime.optimizer.stages import Elementwise

Line = tuple[str, str]
"""A variable and its value."""


@dataclass(frozen=True, slots=True)
class Language:
    """How a kernel's language writes functions, by their operands, and a literal number."""

    functions: Mapping[str, str]
    number: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Written:
    """A stage in a kernel's language: its lines, the variable of each name, the pointer of each tensor."""

    lines: list[Line]
    names: dict[Any, str]
    places: dict[str, str]


def written(stage: Elementwise, language: Language) -> Written:
    """The steps of a stage, one line for each."""
    places = {name: f"p{index}" for index, name in enumerate(stage.tensors)}
    names: dict[Any, str] = {name: f"n{index}" for index, name in enumerate(stage.numbers)}
    names |= {given: f"g{index}" for index, given in enumerate(stage.given)}
    names |= {name: f"x{places[name][1:]}" for name in stage.reads}
    lines = []
    for index, step in enumerate(stage.steps):
        operands = [_operand(one, names, language) for one in step.operands]
        (name,) = step.results
        value = _POWERS.get(step.operands[-1], "") if step.function == "power" else ""
        options = {name: language.number(float(one)) for name, one in step.options if is_number(one)}
        value = (value or language.functions[step.function]).format(*operands, **options)
        names[name] = f"v{index}"
        lines.append((names[name], value))
    return Written(lines, names, places)


def _operand(operand: Any, known: Mapping[Any, str], language: Language) -> str:
    return known[operand] if operand in known else language.number(float(operand))


_POWERS: dict[Any, str] = {1: "{0}", 2: "{0} * {0}", 3: "{0} * {0} * {0}", -1: "1 / {0}"}
"""Powers that are products."""


def _c_number(value: float) -> str:
    if value != value:
        return "T(NAN)"
    if value in (float("inf"), float("-inf")):
        return "T(INFINITY)" if value > 0 else "T(-INFINITY)"
    return f"T({value!r})"


C_LIKE = Language({name: row.cpp for name, row in POINTWISE.items()}, _c_number)

TRITON = Language(
    {name: row.triton for name, row in POINTWISE.items()},
    lambda value: f'tl.full([], float("{value!r}"), T)',
)
