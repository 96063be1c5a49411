"""Optimizers of levels that learn in context, as constants of the generated module."""

from __future__ import annotations

from dataclasses import fields

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.plan.plan import Plan

IMPORT = "from nestdsl.graph.optimizer import GradientMemory, Line, OptimizerProgram, Schedule"


def program_names(plan: Plan) -> dict[OptimizerProgram, str]:
    """The name of each program that drives a level in context: `OPTIMIZER_1` and so on."""
    names: dict[OptimizerProgram, str] = {}
    for body in plan.bodies:
        for level in body.levels:
            program = level.surprise.optimizer.program if level.surprise else None
            if program is not None and program not in names:
                names[program] = f"OPTIMIZER_{len(names) + 1}"
    return names


def program_source(program: OptimizerProgram, indent: str = "") -> str:
    """The program as an expression, one line for each of its parts."""
    inner = indent + "    "
    parts = []
    for field in fields(program):
        value = getattr(program, field.name)
        if value == field.default:
            continue
        if isinstance(value, OptimizerProgram):
            text = program_source(value, inner)
        elif isinstance(value, tuple) and value and not isinstance(value[0], str):
            items = "".join(f"{inner}    {item!r},\n" for item in value)
            text = f"(\n{items}{inner})"
        else:
            text = repr(value)
        parts.append(f"{inner}{field.name}={text},\n")
    return f"OptimizerProgram(\n{''.join(parts)}{indent})"
