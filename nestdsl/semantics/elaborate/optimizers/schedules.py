"""Schedules: values that follow the updates of a level, such as `cosine(3e-4, warmup = 100)`."""

from __future__ import annotations

from collections.abc import Callable

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.optimizer import Schedule
from nestdsl.semantics.constants import describe
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.semantics.values.arguments import bind
from nestdsl.syntax import ast
from nestdsl.vocabulary.signatures import LIBRARY, ArgumentSpec, Type

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


def report_no_schedule(value: ast.Expression, diagnostics: Diagnostics) -> bool:
    """Reports a value that is meant to be a schedule and is none: an unknown one, or arithmetic on one."""
    match value:
        case ast.String(text) if schedule := quoted_schedule(text):
            hint = f"write `{schedule}`: a schedule has no quotation marks"
            diagnostics.report("N0104", "this is a string, and no schedule", value.span, hint)
            return True
        case ast.Name(name, span) | ast.String(name, span) if name in SCHEDULES:
            hint = f"write `{name}(1e-3)`, with a peak of your own"
            diagnostics.report("N0104", f"the schedule `{name}` needs a peak", span, hint)
            return True
        case ast.Call(ast.Name(name, span)) if name not in LIBRARY.functions:
            otherwise = f"the schedules are {listed(SCHEDULES)}; other values are numbers and arithmetic"
            diagnostics.report(
                "N0101", f"there is no schedule `{name}`", span, did_you_mean(name, SCHEDULES, otherwise)
            )
            return True
        case ast.Unary() | ast.Binary() if (found := _schedule_in(value)) is not None:
            name = found.function.text
            diagnostics.report(
                "N0104",
                "a schedule is the whole value of a parameter, and no part of a computation",
                value.span,
                f"compute its peak: `{name}(2 * 0.1)`",
            )
            return True
    return False


def quoted_schedule(value: object) -> str:
    """The schedule that stands in a string, or ""."""
    text = value.strip() if isinstance(value, str) else ""
    if not text.startswith(tuple(f"{shape}(" for shape in SCHEDULES)):
        return ""
    return text if text.endswith(")") else f"{text})"


def _schedule_in(value: ast.Expression) -> ast.Call | None:
    match value:
        case ast.Call() if is_schedule(value):
            return value
        case ast.Unary(_, operand):
            return _schedule_in(operand)
        case ast.Binary(_, left, right):
            return _schedule_in(left) or _schedule_in(right)
    return None


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
