"""A plan that was read is only data: every name, number and kind in it is checked before anything is built.

Names become attributes of modules and variables of generated code; kinds and functions are looked up;
numbers become sizes. What is not of the form that `lower` makes is refused here, once, at the door.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from nestdsl import limits
from nestdsl.graph.optimizer import GradientMemory
from nestdsl.plan.plan import (
    Body,
    InputPlan,
    LevelPlan,
    OptimizerPlan,
    OrderedLevel,
    Plan,
    Sharing,
    SurprisePlan,
    TrainPlan,
    WeightsPlan,
)
from nestdsl.plan.verify_levels import verify_levels
from nestdsl.plan.verify_lines import verify_lines
from nestdsl.plan.verify_order import verify_order
from nestdsl.plan.verify_program import verify_program
from nestdsl.plan.verify_shared import verify_shared
from nestdsl.plan.verify_sizes import verify_sizes
from nestdsl.plan.wellformed import require, require_identifier, require_member, shown
from nestdsl.vocabulary.signatures import OBJECTIVES_TRAIN

_FREE_TEXT = {(Plan, "source"), (WeightsPlan, "file"), (WeightsPlan, "key"), (WeightsPlan, "tensors")}
"""Paths and foreign names: shown in messages and opened, but no part of a model."""
_POSITIVE = {
    Plan: ("output_size",),
    InputPlan: ("size",),
    TrainPlan: ("period_steps",),
    OrderedLevel: ("period", "copies"),
    Body: ("input_size", "output_size"),
    LevelPlan: ("input_size", "output_size"),
    SurprisePlan: ("period_tokens",),
    GradientMemory: ("period",),
}
"""Numbers that are at least 1; all others of a plan's own fields are at least 0."""


def verify(plan: Plan) -> None:
    """Raises OddPlanError for what no program gives."""
    _verify_values(plan, "plan")
    _verify_words(plan)
    counts: dict[str, int] = {}
    depths: dict[str, int] = {}
    for body in plan.bodies:
        require(body.name not in counts, f"there are two bodies `{body.name}`")
        counts[body.name] = _verify_body(body, counts)
        inner = [depths[name] for block in body.blocks for name in block.bodies]
        depths[body.name] = 1 + max(inner, default=0)
        require(counts[body.name] <= limits.MAX_NODES, "it has more levels than a program may have")
        require(depths[body.name] <= limits.MAX_BLOCK_DEPTH + 1, "its blocks stand too deep in one another")
    require(bool(plan.bodies), "plan.bodies is empty")
    verify_sizes(plan)
    verify_order(plan)


def _verify_values(value: object, place: str) -> None:
    """Text on one line, numbers in their ranges, programs of optimizers, wherever they stand."""
    if not is_dataclass(value):
        for part in _leaves(value):
            # What is only shown, costs and clocks, may be larger than what is built from.
            most = limits.MAX_WHOLE if place.startswith("plan.bodies") else math.inf
            is_plain = part.isprintable() if isinstance(part, str) else abs(part) <= most
            require(is_plain, f"{place} has the value {shown(part)}")
        return
    kind = type(value)
    if isinstance(value, OptimizerPlan):
        _verify_optimizer(value, place)
    for field in fields(value):
        part, here = getattr(value, field.name), f"{place}.{field.name}"
        if (kind, field.name) in _FREE_TEXT:
            continue
        if type(part) is int:
            least = 1 if field.name in _POSITIVE.get(kind, ()) else 0
            most = limits.MAX_WHOLE if least else math.inf  # costs may be beyond
            require(least <= part <= most, f"{here} is {part}")
            continue
        for one in part if isinstance(part, tuple) else (part,):
            _verify_values(one, here)


def _leaves(value: object) -> Iterator[str | int]:
    if isinstance(value, str | int):
        yield value
    elif isinstance(value, tuple):
        for part in value:
            yield from _leaves(part)


def _verify_words(plan: Plan) -> None:
    require_identifier(plan.model, "the model", free=False)
    require_member(plan.input.takes, ("ids", "vectors"), "what the model takes")
    require_member(plan.train.objective, OBJECTIVES_TRAIN, "the objective")
    require(plan.train.optimizer.program is not None, "its optimizer has no program")
    for name, _ in plan.parameters:
        require_identifier(name, "a parameter", free=False)


def _verify_optimizer(optimizer: OptimizerPlan, place: str) -> None:
    require_identifier(optimizer.name, f"the optimizer of {place}", free=False)
    for name, _ in optimizer.arguments:
        require_identifier(name, f"an argument of `{optimizer.name}`", free=False)
    if optimizer.program is not None:
        reduce = dict(optimizer.arguments).get("reduce")
        require_member(reduce, ("mean", "sum"), f"how `{optimizer.name}` combines gradients")
        program = optimizer.program
        verify_program(program)
        given = {name for name, _ in optimizer.arguments} - {"reduce"}
        parameters = {name for name, _ in program.parameters}
        parameters |= {schedule.parameter for schedule in program.schedules}
        require(given == parameters, f"`{optimizer.name}` is given other arguments than it takes")


def _verify_body(body: Body, counts: dict[str, int]) -> int:
    """Checks one body by itself; gives the number of levels, blocks and lines in it, copies counted."""
    require_identifier(body.name, "a body", free=False)
    require_identifier(body.block, f"the block of `{body.name}`", free=False)
    together = [shared for shared in body.shared if shared.form is Sharing.SIDE_BY_SIDE]
    parts = [*body.levels, *body.blocks, *together]
    attributes = {require_identifier(part.attribute, f"`{body.name}`") for part in parts}
    require(len(attributes) == len(parts), f"`{body.name}` has two parts of one name")
    count = len(parts) + len(body.lines)
    for block in body.blocks:
        require(bool(block.bodies), f"`{block.attribute}` of `{body.name}` has no body")
        require(block.repeated or len(block.bodies) == 1, f"`{block.attribute}` is not repeated")
        for name in block.bodies:
            require_member(name, counts, f"the body of `{block.attribute}` of `{body.name}`")
            count += counts[name]
    verify_levels(body)
    verify_shared(body)
    verify_lines(body)
    return count
