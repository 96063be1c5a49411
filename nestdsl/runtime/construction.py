"""What the levels of a body are built from: the class of each, and its arguments."""

from __future__ import annotations

from typing import Any

from nestdsl.diagnostics import fail
from nestdsl.plan.plan import Body, LevelPlan, Sharing
from nestdsl.plan.starts import is_trained, number_of, without_start, word_of
from nestdsl.runtime.kinds import LAYERS, MEMORIES, Start
from nestdsl.vocabulary.extension import PYTHON_KINDS
from nestdsl.vocabulary.signatures import LIBRARY
from nestdsl.vocabulary.starts import LEARNED


def class_of(level: LevelPlan) -> type:
    """The module class of a level. Raises NestError N0502 for a kind that is not known here."""
    kinds = PYTHON_KINDS if level.kind in PYTHON_KINDS else MEMORIES if _remembers(level) else LAYERS
    if level.kind not in kinds:
        raise fail(
            "N0502",
            f"this plan has a level of the kind `{level.kind}`, which is not known here",
            "declare the kind with `nestdsl.kind` before the plan is built",
        )
    return kinds[level.kind]


def constructor_arguments(level: LevelPlan, body: Body) -> dict[str, Any]:
    """What the class is built with, beside the sizes."""
    arguments: dict[str, Any] = dict(level.arguments) | dict(without_start(level.options))
    if _remembers(level):
        for name in LIBRARY.kinds[level.kind].of_projections:
            del arguments[name]  # its projections have taken it
    if word_of(level) != LEARNED:
        trained = level.association and is_trained(level)
        stands_in = any(
            level.attribute in (shared.attribute, shared.source)
            for shared in body.shared
            if shared.form is Sharing.ONE_PRODUCT
        )
        arguments["init"] = Start(word_of(level), number_of(level), trained, draws=not stands_in)
    return arguments


def plastic_arguments(level: LevelPlan) -> dict[str, Any]:
    """What the `Plastic` around a level that learns from surprise is built with, beside its parent."""
    surprise = level.surprise
    assert surprise is not None
    program, arguments = surprise.optimizer.program, dict(surprise.optimizer.arguments)
    return {
        "period": surprise.period_tokens,
        "arguments": arguments if program is None else {"reduce": arguments.get("reduce", "mean")},
        "program": program,
        "matrices": program is None or surprise.matrices,
        "gradient": surprise.gradient,
        "reset": surprise.reset,
    }


def parents_first(body: Body) -> list[LevelPlan]:
    """The levels of a body, each after the one that it starts from."""
    by_attribute = {level.attribute: level for level in body.levels}
    ordered: dict[str, LevelPlan] = {}
    for level in body.levels:
        waiting: dict[str, LevelPlan] = {}
        name = level.attribute
        while name and name not in ordered:
            if name in waiting or name not in by_attribute:
                raise fail(
                    "N0502", f"this plan has no level `{name}` to start from", "compile the program again"
                )
            one = waiting[name] = by_attribute[name]
            name = one.surprise.parent if one.surprise else ""
        ordered |= dict(reversed(waiting.items()))
    return list(ordered.values())


def _remembers(level: LevelPlan) -> bool:
    return level.association and level.kind in MEMORIES
