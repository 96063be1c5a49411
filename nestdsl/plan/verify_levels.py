"""The levels of a body that was read, against what their kinds mean: see `verify.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.plan.plan import Body, LevelPlan, SurprisePlan
from nestdsl.plan.starts import verify_start, without_start
from nestdsl.plan.wellformed import (
    OddPlanError,
    is_number,
    require,
    require_arguments,
    require_identifier,
    require_member,
)
from nestdsl.vocabulary.signatures import (
    LIBRARY,
    OBJECTIVES_IN_CONTEXT,
    READS,
    Kind,
    Memory,
    Shapes,
    Value,
)
from nestdsl.vocabulary.timing import STOP, Reset

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
"""The options of memories: what each may be; numbers are positive. `starts.py` has those of all starts."""
_NOT_ALWAYS = {"p", "forget_first", "anchored"}


def verify_levels(body: Body) -> None:
    """Raises OddPlanError for a level that no program gives."""
    levels = {level.attribute: level for level in body.levels}
    for level in body.levels:
        here = f"`{level.attribute}`"
        kind = LIBRARY.kinds.get(level.kind)
        require_identifier(level.kind, f"the kind of {here}", free=False)
        for name, _ in level.arguments:
            require_identifier(name, f"an argument of {here}", free=False)
        if kind is not None:  # one that is not known here is refused where it is built
            with _declared_here(kind):
                _verify_kind(level, kind, here)
        verify_start(level)
        _verify_options(level, kind, here)
        if level.surprise is not None:
            _verify_surprise(level, level.surprise, levels, here)
    _verify_ancestry(levels)


@contextmanager
def _declared_here(kind: Kind) -> Iterator[None]:
    """What does not fit a kind from Python may be its declaration, which need not be that of the plan."""
    try:
        yield
    except OddPlanError as error:
        if not kind.is_custom:
            raise
        raise OddPlanError(
            f"the kind `{kind.name}` from Python was declared otherwise for it: {error}"
        ) from None


def shapes_of(level: LevelPlan) -> Shapes | None:
    """The shapes of the tensors that a level learns; None of a kind that is not known here."""
    kind = LIBRARY.kinds.get(level.kind)
    return kind and kind.parameters(dict(level.arguments), level.input_size, level.output_size)


def _verify_kind(level: LevelPlan, kind: Kind, here: str) -> None:
    arguments = dict(level.arguments)
    require_arguments(level.arguments, kind.arguments, here)
    given = [name for name in kind.alternatives if arguments[name] is not None]
    require(len(given) <= 1, f"{here} says both {' and '.join(given)}")
    require(kind.is_causal(arguments), f"{here} reads later tokens")
    require(kind.is_memory or not level.association, f"{here} is no memory")
    is_solved = not kind.is_nonparametric or level.association
    require(is_solved, f"{here} learns from nothing")
    in_context = level.association or level.surprise is not None
    keeps = kind.keeps_state(arguments)
    # A memory that works with others has its state in theirs; `verify_shared.py` says which those are.
    is_fit = level.stateful == (in_context or keeps) or (level.association and not level.stateful)
    require(is_fit, f"whether {here} keeps state is odd")
    may_go_on = in_context and not kind.is_nonparametric
    require(may_go_on or not level.carried, f"{here} keeps nothing that could go on")
    if level.surprise is not None:
        learns = not level.association and bool(shapes_of(level))
        require(learns, f"{here} has no weights that learn from surprise")


def _verify_options(level: LevelPlan, kind: Kind | None, here: str) -> None:
    options = dict(without_start(level.options))
    has_rule = level.association and kind is not None and not kind.is_nonparametric
    require(has_rule or kind is None or not options, f"{here} has the options of a memory")
    if not has_rule or kind is None:
        return
    for name, value in options.items():
        require_member(name, _OPTIONS, f"an option of {here}")
        known = _OPTIONS[name]
        if isinstance(known, tuple):
            is_one = any(type(value) is type(one) and value == one for one in known)
            require(is_one, f"{name} of {here} is no such word")
        else:
            is_positive = type(value) in (int, known) and is_number(value) and value > 0
            require(is_positive, f"{name} of {here} is no positive number")
    missing = sorted(_OPTIONS.keys() - _NOT_ALWAYS - options.keys())
    require(not missing, f"{here} does not say its {' and '.join(missing)}")
    p = options.get("p")
    is_power = is_number(p) and p >= 1 if options["objective"] == "lp" else p is None
    require(is_power, f"p of {here} is odd")
    is_cut = level.gradient == STOP
    require((options["gradient"] == "stop") == is_cut, f"the gradient of {here} is given in two ways")
    if options.get("forget_first"):
        rule = kind.memory, options["optimizer"], options["objective"], options["period"]
        require(rule == (Memory.MATRIX, "gd", "l2", 1), f"{here} has nothing to forget first")
    require(kind.memory is Memory.MATRIX or not options.get("anchored"), f"{here} keeps no anchor")


def _verify_surprise(
    level: LevelPlan, surprise: SurprisePlan, levels: Mapping[str, LevelPlan], here: str
) -> None:
    require(surprise.gradient == level.gradient, f"the gradient of {here} is given in two ways")
    program = surprise.optimizer.program
    if program is None:
        require(surprise.optimizer.name == "gd", f"the optimizer of {here} has no rule")
        rule = {spec.name: spec for spec in LIBRARY.optimizers["gd"].arguments if spec.name != "forget_first"}
        require_arguments(surprise.optimizer.arguments, tuple(rule.values()), f"the optimizer of {here}")
    else:
        require(not _ends_with_run(program), f"a schedule of {here} ends with the run")
    goes_on = surprise.reset is Reset.NEVER
    if surprise.parent:
        parent = _verified_parent(level, surprise, levels, here)
        goes_on |= surprise.reset is Reset.PARENT and parent.carried
    else:
        require(surprise.reset is not Reset.PARENT, f"{here} is reset with no parent")
    require(level.carried == goes_on, f"whether {here} goes on is given in two ways")


def _verified_parent(
    level: LevelPlan, surprise: SurprisePlan, levels: Mapping[str, LevelPlan], here: str
) -> LevelPlan:
    parent = levels.get(surprise.parent)
    if parent is None:
        raise OddPlanError(f"{here} has no such parent")
    require(not parent.association and shapes_of(parent) == shapes_of(level), f"{here} has another's parent")
    if surprise.reset is Reset.PARENT and parent.surprise is not None:
        is_slower = parent.surprise.period_tokens > surprise.period_tokens
        require(is_slower, f"{here} is reset before it has learned")
    return parent


def _verify_ancestry(levels: Mapping[str, LevelPlan]) -> None:
    """No level starts, in the end, from itself."""
    known: set[str] = set()
    for name in levels:
        way: set[str] = set()
        while name and name not in known:
            require(name not in way, f"`{name}` starts, in the end, from itself")
            way.add(name)
            surprise = levels[name].surprise
            name = surprise.parent if surprise is not None else ""
        known |= way


def _ends_with_run(program: OptimizerProgram) -> bool:
    """Whether a value falls to the end of a run, which no sequence knows."""
    own = any(one.shape != "constant" and not one.steps for one in program.schedules)
    return own or (program.otherwise is not None and _ends_with_run(program.otherwise))
