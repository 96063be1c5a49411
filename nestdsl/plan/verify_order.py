"""The levels that a read plan lists, its clock and its costs, beside its bodies: see `verify.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from nestdsl.plan.clock import clock
from nestdsl.plan.cost import BYTES, total, trained_weights
from nestdsl.plan.optimizer_state import state_numbers
from nestdsl.plan.plan import Body, LevelPlan, OrderedLevel, Plan, SharedPlan, Sharing
from nestdsl.plan.verify_levels import shapes_of
from nestdsl.plan.wellformed import require, require_identifier, require_member
from nestdsl.vocabulary.signatures import LIBRARY, count
from nestdsl.vocabulary.timing import Unit


def verify_order(plan: Plan) -> None:
    """Raises OddPlanError where the levels are others than those of the bodies. The bodies are verified."""
    bodies = {body.name: body for body in plan.bodies}
    built = dict(_built(plan.root, bodies, ""))
    named = [path for level in plan.levels for path in level.modules]
    require(len(named) == len(set(named)) and built.keys() == set(named), "its levels are not its bodies'")
    for level in plan.levels:
        here = f"`{level.name}`"
        require_identifier(level.kind, f"the kind of {here}", free=False)
        wanted = 0 if level.owner else level.copies
        require(len(level.modules) == wanted, f"{here} has {len(level.modules)} modules")
        for number, path in enumerate(level.modules):
            _verify_copy(level, built[path], here, is_first=number == 0)
    for one in plan.weights:
        require_member(one.module, built, "a level with weights from a file")
        shapes = shapes_of(built[one.module])
        own = None if shapes is None else {name for name, _ in shapes}
        require(own is None or {name for name, _ in one.tensors} <= own, f"`{one.module}` has other weights")
    _verify_clock(plan)
    _verify_costs(plan, built)


def _verify_copy(level: OrderedLevel, built: LevelPlan, here: str, *, is_first: bool) -> None:
    """What the list says of a level is what the body of a copy says; its sizes are those of the first."""
    require(level.kind == built.kind, f"the kind of {here} is given in two ways")
    if is_first:
        is_same = (level.input_size, level.output_size) == (built.input_size, built.output_size)
        require(is_same and level.carried == built.carried, f"what {here} is, is given in two ways")
    surprise = built.surprise
    options = dict(built.options)
    if built.association:
        learns: tuple[str, ...] = (f"{options.get('objective', 'softmax')}: key -> value",)
        unit, period = Unit.TOKEN, options.get("period", level.period)
    elif surprise is not None:
        learns, unit, period = ("surprise",), Unit.TOKEN, surprise.period_tokens
    else:
        learns, unit, period = ("surprise", "nothing"), Unit.STEP, level.period
    is_attention = built.association and not options
    require_member(level.learns, learns, f"what {here} learns")
    is_so = is_attention or (level.unit, level.period) == (unit, period)
    require(is_so, f"when {here} moves is given in two ways")
    if level.unit is Unit.STEP and level.optimizer is not None:
        require(level.optimizer.program is not None, f"the optimizer of {here} has no program")
    shapes = shapes_of(built)
    has_some = shapes is None or any(len(shape) == 2 for _, shape in shapes)
    require(has_some or not level.matrices, f"{here} has no matrices")


def _verify_clock(plan: Plan) -> None:
    """Periods are those of the levels, and divide one another."""
    require(plan.clock == clock(plan.levels), "its clock is not that of its levels")
    for unit in Unit:
        own = (level for level in plan.levels if level.unit is unit and not (level.owner or level.frozen))
        for shorter, longer in pairwise(sorted({level.period for level in own})):
            require(longer % shorter == 0, f"its periods {shorter} and {longer} do not divide one another")


def _verify_costs(plan: Plan, built: Mapping[str, LevelPlan]) -> None:
    """Costs say how much memory is needed before anything is built, so they are no less than what is.

    They are those of the first copy of each level: the sizes of other copies may differ.
    """
    costs, moved = plan.costs, 0
    require(costs == total(plan.levels, dict(costs.optimizer_memories)), "its costs are not its levels'")
    for level in plan.levels:
        if level.owner:
            continue
        here, first = f"`{level.name}`", built[level.modules[0]]
        require(level.parameters >= trained_weights(first), f"{here} has more weights than it says")
        kept = _numbers(first) * BYTES
        require(level.state_bytes_per_sequence >= kept, f"{here} keeps more than it says")
        if level.parameters and not level.frozen:
            own = level.optimizer if level.unit is Unit.STEP else None
            program, shapes = (own or plan.train.optimizer).program, shapes_of(first) or ()
            moved += min(state_numbers(program, shapes, one) for one in {level.matrices, True})
    require(costs.optimizer_bytes >= moved * BYTES, "its optimizers keep more than it says")


def _numbers(level: LevelPlan) -> int:
    """How many numbers a level by itself keeps for each sequence, at the least."""
    kind, surprise = LIBRARY.kinds.get(level.kind), level.surprise
    if kind is None or not level.stateful or (kind.is_memory and not level.association):
        return 0
    numbers = count(kind.state(dict(level.arguments), level.input_size, level.output_size))
    if surprise is not None:  # weights, what gathers, and what the optimizer keeps
        shapes = shapes_of(level) or ()
        numbers += 2 * count(shapes)
        numbers += state_numbers(surprise.optimizer.program, shapes, surprise.matrices)
    return numbers


def _built(body: Body, bodies: Mapping[str, Body], prefix: str) -> Iterator[tuple[str, LevelPlan]]:
    """Each declared level by where it stands in the built model; one that stands for several is none."""
    joint = set(_stand_ins(body.shared))
    for level in body.levels:
        if level.attribute not in joint:
            yield f"{prefix}{level.attribute}", level
    for block in body.blocks:
        for number, name in enumerate(block.bodies):
            inner = f"{block.attribute}.{number}." if block.repeated else f"{block.attribute}."
            yield from _built(bodies[name], bodies, prefix + inner)


def _stand_ins(shared: Iterable[SharedPlan]) -> Iterator[str]:
    for one in shared:
        if one.form is Sharing.ONE_PRODUCT:
            yield from (one.attribute, one.source)
