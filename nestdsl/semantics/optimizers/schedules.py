"""Schedules: values that follow the updates of a level, such as `cosine(3e-4, warmup = 100)`."""

from __future__ import annotations

from collections.abc import Callable

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.optimizer import Schedule
from nestdsl.library.signatures import ArgumentSpec, Type
from nestdsl.semantics.arguments import bind
from nestdsl.semantics.values import describe
from nestdsl.syntax import ast

SCHEDULES = ("constant", "linear", "cosine")
_ARGUMENTS = (
    ArgumentSpec("peak", Type.NUMBER),
    ArgumentSpec("warmup", Type.WHOLE, 0, minimum=0),
    ArgumentSpec("steps", Type.WHOLE, 0, minimum=0),
    ArgumentSpec("floor", Type.NUMBER, 0.0, minimum=0.0, maximum=1.0),
)


def is_schedule(expression: ast.Expression) -> bool:
    """Whether an expression calls a schedule."""
    return isinstance(expression, ast.Call) and expression.function.text in SCHEDULES


def read_schedule(
    parameter: str,
    call: ast.Call,
    evaluate: Callable[[ast.Expression], object],
    diagnostics: Diagnostics,
) -> Schedule | None:
    """The schedule that a call means; None after a mistake, which is reported."""
    bound = bind(call, _ARGUMENTS, f"`{call.function.text}`", evaluate, diagnostics)
    if bound is None:
        return None
    peak, warmup, steps, floor = (bound[spec.name] for spec in _ARGUMENTS)
    assert isinstance(peak, float) and isinstance(floor, float)
    assert isinstance(warmup, int) and isinstance(steps, int)
    if steps and warmup >= steps:
        diagnostics.report(
            "N0203",
            f"a warm-up of {warmup} updates leaves nothing of the {steps} steps",
            call.span,
            "choose a shorter warm-up, or more steps",
        )
        return None
    return Schedule(parameter, call.function.text, peak, warmup, steps, floor)


def written(schedule: Schedule) -> str:
    """A schedule as programs write it."""
    parts = [describe(schedule.peak)]
    parts += [f"warmup = {schedule.warmup}"] * bool(schedule.warmup)
    parts += [f"steps = {schedule.steps}"] * bool(schedule.steps)
    parts += [f"floor = {describe(schedule.floor)}"] * bool(schedule.floor)
    return f"{schedule.shape}({', '.join(parts)})"
