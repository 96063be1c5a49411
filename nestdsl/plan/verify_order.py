"""The levels that a plan which was read lists, its clock and its costs, against its bodies: see `verify.py`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from nestdsl.library.signatures import LIBRARY, count
from nestdsl.plan.clock import clock
from nestdsl.plan.cost import BYTES, least_weights, total
from nestdsl.plan.optimizer_state import state_numbers
from nestdsl.plan.plan import Body, LevelPlan, OrderedLevel, Plan, SharedPlan, SurprisePlan
from nestdsl.plan.sharing import ONE_PRODUCT, SIDE_BY_SIDE
from nestdsl.plan.verify_levels import shapes_of
from nestdsl.plan.wellformed import require, require_identifier, require_member


def verify_order(plan: Plan) -> None:
    """Raises OddPlanError where the levels are others than those of the bodies. The bodies are verified."""
    bodies = {body.name: body for body in plan.bodies}
    built = dict(_built(plan.root, bodies, ""))
    named = [path for level in plan.levels for path in level.modules]
    require(len(named) == len(set(named)) and built.keys() == set(named), "its levels are not its bodies'")
    for level in plan.levels:
        here = f"`{level.name}`"
        require_identifier(level.kind, f"the kind of {here}", free=False)
        require_member(level.unit, ("step", "token"), f"the unit of {here}")
        is_memory = bool(level.owner)
        wanted = 0 if is_memory else level.copies
        require(len(level.modules) == wanted, f"{here} has {len(level.modules)} modules")
        for path in level.modules:
            _verify_copy(plan, level, built[path], here)
    for one in plan.weights:
        require_member(one.module, built, "a level with weights from a file")
        shapes = shapes_of(built[one.module])
        own = None if shapes is None else {name for name, _ in shapes}
        require(own is None or {name for name, _ in one.tensors} <= own, f"`{one.module}` has other weights")
    _verify_clock(plan)
    _verify_costs(plan, built, bodies)


def _verify_copy(plan: Plan, level: OrderedLevel, built: LevelPlan, here: str) -> None:
    """What the list says of a level is what its body says of it."""
    surprise = built.surprise
    same = (level.kind, level.input_size, level.output_size, level.carried)
    require(
        same == (built.kind, built.input_size, built.output_size, built.carried), f"{here} is there twice"
    )
    options = dict(built.options)
    if built.association:
        learns: tuple[str, ...] = (f"{options.get('objective', 'softmax')}: key -> value",)
        unit, period = "token", options.get("period", level.period)
    elif surprise is not None:
        learns, unit, period = ("surprise",), "token", surprise.period_tokens
    else:
        learns, unit, period = ("surprise", "nothing"), "step", level.period
    is_attention = built.association and not options
    require_member(level.learns, learns, f"what {here} learns")
    is_so = is_attention or (level.unit, level.period) == (unit, period)
    require(is_so, f"when {here} moves is said in two ways")
    if level.unit == "step" and level.optimizer is not None:
        require(level.optimizer.program is not None, f"the optimizer of {here} has no program")
    kind = LIBRARY.kinds.get(level.kind)
    shapes = shapes_of(built)
    if kind is None or shapes is None:
        return
    if level.matrices:
        require(any(len(shape) == 2 for _, shape in shapes), f"{here} has no matrices")


def _verify_clock(plan: Plan) -> None:
    """Periods are those of the levels, and divide one another."""
    require(plan.clock == clock(plan.levels), "its clock is not that of its levels")
    for periods in (plan.clock.tokens, plan.clock.steps):
        for (shorter, _), (longer, _) in pairwise(periods):
            require(longer % shorter == 0, f"its periods {shorter} and {longer} do not divide one another")


def _verify_costs(plan: Plan, built: Mapping[str, LevelPlan], bodies: Mapping[str, Body]) -> None:
    """Costs say how much memory is needed before anything is built, so they are no less than what is."""
    costs = plan.costs
    require(costs == total(plan.levels, dict(costs.optimizer_memories)), "its costs are not its levels'")
    require(costs.parameters >= least_weights(plan), "its levels have more weights than it says")
    kept = sum(_numbers(level) * copies for level, copies in _keeping(plan, bodies)) * BYTES
    require(costs.state_bytes_per_sequence >= kept, "its levels keep more than it says")
    moved = 0
    for level in plan.levels:
        optimizer = (level.unit == "step" and level.optimizer) or plan.train.optimizer
        for path in level.modules if not level.frozen and level.parameters else ():
            shapes = shapes_of(built[path]) or ()
            if level.matrices:
                moved += state_numbers(optimizer.program, shapes, True)
            else:
                both = (state_numbers(optimizer.program, shapes, one) for one in (False, True))
                moved += min(both)
    require(costs.optimizer_bytes >= moved * BYTES, "its optimizers keep more than it says")


def _keeping(plan: Plan, bodies: Mapping[str, Body]) -> Iterator[tuple[LevelPlan, int]]:
    """The levels that keep a state for each sequence, each with the number of its copies."""
    copies = dict.fromkeys(bodies, 0)
    copies[plan.root.name] = 1
    for body in reversed(plan.bodies):  # wholes before their parts
        for block in body.blocks:
            for name in block.bodies:
                copies[name] += copies[body.name]
        sides = (shared.members for shared in body.shared if shared.form == SIDE_BY_SIDE)
        joined = {name for members in sides for name in members}
        for level in body.levels:
            if level.stateful or level.attribute in joined:
                yield level, copies[body.name]


def _numbers(level: LevelPlan) -> int:
    """How many numbers a level keeps for each sequence, at the least."""
    kind = LIBRARY.kinds.get(level.kind)
    if kind is None:
        return 0
    numbers = count(kind.state(dict(level.arguments), level.input_size, level.output_size))
    return numbers + (_numbers_of(level, level.surprise) if level.surprise is not None else 0)


def _numbers_of(level: LevelPlan, surprise: SurprisePlan) -> int:
    """Of a level that learns from surprise: weights, what gathers, and what its optimizer keeps."""
    shapes = shapes_of(level) or ()
    return 2 * count(shapes) + state_numbers(surprise.optimizer.program, shapes, surprise.matrices)


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
        if one.form == ONE_PRODUCT:
            yield from (one.attribute, one.source)
