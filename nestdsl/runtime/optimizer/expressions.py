"""The steps of an elementwise stage as assignments in the language of a kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
        value = (value or language.functions[step.function]).format(*operands)
        names[name] = f"v{index}"
        lines.append((names[name], value))
    return Written(lines, names, places)


def _operand(operand: Any, known: Mapping[Any, str], language: Language) -> str:
    return known[operand] if operand in known else language.number(float(operand))


_ARITHMETIC = {
    "add": "{0} + {1}",
    "subtract": "{0} - {1}",
    "multiply": "{0} * {1}",
    "divide": "{0} / {1}",
    "negate": "-{0}",
    "stop": "{0}",
}
_POWERS: dict[Any, str] = {1: "{0}", 2: "{0} * {0}", 3: "{0} * {0} * {0}", -1: "1 / {0}"}
"""Powers that are products."""


def _c_number(value: float) -> str:
    if value != value:
        return "T(NAN)"
    if value in (float("inf"), float("-inf")):
        return "T(INFINITY)" if value > 0 else "T(-INFINITY)"
    return f"T({value!r})"


C_LIKE = Language(
    {
        **_ARITHMETIC,
        "zero": "T(0)",
        "power": "std::pow({0}, {1})",
        "sqrt": "std::sqrt({0})",
        "abs": "std::abs({0})",
        "exp": "std::exp({0})",
        "tanh": "std::tanh({0})",
        "sign": "sign({0})",
        "sigmoid": "sigmoid({0})",
        "softplus": "softplus({0})",
        "silu": "silu({0})",
        "gelu": "gelu({0})",
        "relu": "relu({0})",
        "max": "larger({0}, {1})",
        "min": "smaller({0}, {1})",
        "clip": "smaller(larger({0}, -{1}), {1})",
    },
    _c_number,
)

TRITON = Language(
    {
        **_ARITHMETIC,
        "zero": "tl.full([BLOCK], 0.0, T)",
        "power": "libdevice.pow({0}, {1})",
        "sqrt": "tl.sqrt({0})",
        "abs": "tl.abs({0})",
        "exp": "tl.exp({0})",
        "tanh": "tanh({0})",
        "sign": "sign({0})",
        "sigmoid": "1 / (1 + tl.exp(-{0}))",
        "softplus": "softplus({0})",
        "silu": "{0} / (1 + tl.exp(-{0}))",
        "gelu": "{0} * (1 + tl.erf({0} * 0.7071067811865476)) / 2",
        "relu": "larger({0}, 0.0)",
        "max": "larger({0}, {1})",
        "min": "smaller({0}, {1})",
        "clip": "smaller(larger({0}, -{1}), {1})",
    },
    lambda value: f'tl.full([], float("{value!r}"), T)',
)
