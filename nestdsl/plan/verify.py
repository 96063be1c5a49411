"""A plan that was read is only data: every name, number and kind in it is checked before anything is built.

Names become attributes of modules and variables of generated code; kinds and functions are looked up;
numbers become sizes. What is not of the form that `lower` makes is refused here, once, at the door.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Set
from dataclasses import fields, is_dataclass

from nestdsl import limits
from nestdsl.graph.optimizer import GradientMemory
from nestdsl.library.signatures import (
    LIBRARY,
    OBJECTIVES_IN_CONTEXT,
    OBJECTIVES_TRAIN,
    READS,
    RESETS,
    Value,
)
from nestdsl.plan.names import identifier
from nestdsl.plan.plan import (
    Body,
    InputPlan,
    LevelPlan,
    OptimizerPlan,
    OrderedLevel,
    Plan,
    SharedPlan,
    SurprisePlan,
    TrainPlan,
    WeightsPlan,
)
from nestdsl.plan.sharing import ONE_PRODUCT, SIDE_BY_SIDE
from nestdsl.plan.starts import verify_start, without_start
from nestdsl.plan.verify_lines import verify_lines
from nestdsl.plan.verify_program import verify_program
from nestdsl.plan.verify_sizes import verify_sizes
from nestdsl.plan.wellformed import (
    is_number,
    require,
    require_arguments,
    require_identifier,
    require_member,
    shown,
)

_GRADIENT = re.compile(r"through|stop|truncated\([1-9][0-9]{0,18}\)")
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
_OPTIONS: dict[str, tuple[Value, ...] | type] = {
    "objective": OBJECTIVES_IN_CONTEXT,
    "p": float,
    "optimizer": ("gd", "dgd", "momentum", "dgd_momentum"),
    "toward": ("zero", "init"),
    "forget_first": (True, False),
    "read": READS,
    "period": int,
    "chunk": int,
    "gradient": ("stop", "through"),
    "anchored": (True, False),
}
"""The options of levels: what each may be; numbers are positive. `starts.py` has those of their starts."""


def verify(plan: Plan) -> None:
    """Raises OddPlanError for what no program gives."""
    _verify_values(plan, "plan")
    _verify_words(plan)
    bodies: dict[str, Body] = {}
    counts: dict[str, int] = {}
    depths: dict[str, int] = {}
    for body in plan.bodies:
        require(body.name not in bodies, f"there are two bodies `{body.name}`")
        counts[body.name] = _verify_body(body, counts)
        verify_sizes(body, bodies)
        bodies[body.name] = body
        inner = [depths[name] for block in body.blocks for name in block.bodies]
        depths[body.name] = 1 + max(inner, default=0)
        require(counts[body.name] <= limits.MAX_NODES, "it has more levels than a program may have")
        require(depths[body.name] <= limits.MAX_BLOCK_DEPTH + 1, "its blocks stand too deep in one another")
    require(bool(plan.bodies), "plan.bodies is empty")
    reads_ids = plan.input.takes == "ids" and plan.root.output == identifier("in")
    require(not reads_ids, "it gives the ids that it reads")
    paths = set(_paths(plan.root, bodies, ""))
    named = [path for level in plan.levels for path in level.modules]
    require(len(named) == len(set(named)) and paths == set(named), "its levels are not those of its bodies")
    for one in plan.weights:
        require_member(one.module, paths, "a level with weights from a file")


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
    for level in plan.levels:
        require_identifier(level.kind, f"the kind of `{level.name}`", free=False)
        require_member(level.unit, ("step", "token"), f"the unit of `{level.name}`")


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
    """Checks one body; gives the number of levels, blocks and lines in it, copies counted."""
    require_identifier(body.name, "a body", free=False)
    require_identifier(body.block, f"the block of `{body.name}`", free=False)
    together = [shared for shared in body.shared if shared.form == SIDE_BY_SIDE]
    parts = [*body.levels, *body.blocks, *together]
    attributes = {require_identifier(part.attribute, f"`{body.name}`") for part in parts}
    require(len(attributes) == len(parts), f"`{body.name}` has two parts of one name")
    count = len(parts) + len(body.lines)
    for level in body.levels:
        _verify_level(level, attributes)
    for block in body.blocks:
        require(bool(block.bodies), f"`{block.attribute}` of `{body.name}` has no body")
        require(block.repeated or len(block.bodies) == 1, f"`{block.attribute}` is not repeated")
        for name in block.bodies:
            require_member(name, counts, f"the body of `{block.attribute}` of `{body.name}`")
            count += counts[name]
    levels = {level.attribute for level in body.levels}
    for shared in body.shared:
        require_member(shared.form, (SIDE_BY_SIDE, ONE_PRODUCT), f"the form of `{shared.attribute}`")
        for name in shared.members:
            require_identifier(name, f"`{shared.attribute}`")
            is_there = shared.form == ONE_PRODUCT or name in levels
            require(is_there, f"`{shared.attribute}` has no member `{name}`")
        require_member(shared.attribute, attributes, f"what stands for memories of `{body.name}`")
        require(not shared.source or shared.source in levels, f"`{shared.attribute}` has no such source")
    verify_lines(body)
    return count


def _verify_level(level: LevelPlan, attributes: Set[str]) -> None:
    here = f"`{level.attribute}`"
    require(bool(re.fullmatch(_GRADIENT, level.gradient)), f"the gradient of {here} is odd")
    kind = LIBRARY.kinds.get(level.kind)
    require_identifier(level.kind, f"the kind of {here}", free=False)
    if kind is not None:  # one that is not known here is refused where it is built
        require_arguments(level.arguments, kind.arguments, here)
    for name, _ in level.arguments:
        require_identifier(name, f"an argument of {here}", free=False)
    verify_start(level)
    for name, value in without_start(level.options):
        require_member(name, _OPTIONS, f"an option of {here}")
        known = _OPTIONS[name]
        if isinstance(known, tuple):
            require_member(value, known, f"{name} of {here}")
        else:
            is_positive = type(value) in (int, known) and is_number(value) and value > 0
            require(is_positive, f"{name} of {here} is no positive number")
    told = dict(level.options)
    if told.get("forget_first"):
        rule = level.kind, told.get("optimizer"), told.get("objective"), told.get("period")
        require(rule == ("matrix", "gd", "l2", 1), f"{here} has nothing to forget first")
    surprise = level.surprise
    if surprise is not None:
        require(bool(re.fullmatch(_GRADIENT, surprise.gradient)), f"the gradient of {here} is odd")
        require_member(surprise.reset, RESETS, f"the reset of {here}")
        require(not surprise.parent or surprise.parent in attributes, f"{here} has no such parent")
        own = {name for name, _ in surprise.optimizer.arguments}
        has_rule = surprise.optimizer.program is not None or own >= {"step", "retain"}
        require(has_rule, f"the optimizer of {here} has no rule")


def _paths(body: Body, bodies: dict[str, Body], prefix: str) -> Iterator[str]:
    """Where each declared level stands in the built model; one that stands for several is none of them."""
    joint = {name for shared in body.shared if shared.form == ONE_PRODUCT for name in _stand_ins(shared)}
    yield from (f"{prefix}{level.attribute}" for level in body.levels if level.attribute not in joint)
    for block in body.blocks:
        for number, name in enumerate(block.bodies):
            inner = f"{block.attribute}.{number}." if block.repeated else f"{block.attribute}."
            yield from _paths(bodies[name], bodies, prefix + inner)


def _stand_ins(shared: SharedPlan) -> tuple[str, str]:
    return shared.attribute, shared.source
