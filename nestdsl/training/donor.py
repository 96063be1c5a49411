"""Starts a program from the weights of a trained one, level by level and by name (Sec. 7.3).

Levels are known by their names in the programs: `stack[1].think` is the level of the second copy of a
`repeat` as well as of the second element of an array, whether it moves once in steps or in tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch

from nestdsl.diagnostics import Diagnostics, NestError
from nestdsl.plan.plan import Body, LevelPlan, Plan
from nestdsl.plan.starts import word_of
from nestdsl.training.checkpoint import Checkpoint
from nestdsl.vocabulary.starts import LEARNED

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule

Tensors = dict[str, torch.Tensor]
"""The weights of one level, by their names in it."""


def take_weights(model: NestModule, donor: Checkpoint) -> None:
    """Gives a model the weights of a trained one. Raises NestError N0502 with all that does not match.

    Every level of the donor has to have its level in the model. A level that the donor lacks has to say
    how it starts: with anything but `init learned`.
    """
    given = _by_level(donor.plan, donor.weights)
    wanted = _by_level(model.plan, model.state_dict())
    from_files = {one.module for one in model.plan.weights}
    own_starts = {name for name, path in _paths(model.plan) if path in from_files}
    own_starts |= {name for name, plan in _plans(model.plan) if word_of(plan) != LEARNED}
    found = Diagnostics()
    read = {id(tensor) for tensors in given.values() for tensor in tensors.values()}
    for name in (name for name, tensor in donor.weights.items() if id(tensor) not in read):
        found.report(
            "N0502", f"the run in `{donor.folder}` has {name!a}, which is of none of its levels", None, _OTHER
        )
    for name in [*given, *(name for name in wanted if name not in given)]:
        message, hint = _difference(name, given.get(name), wanted.get(name), name in own_starts)
        if message:
            found.report("N0502", f"{message} (the donor is the run in `{donor.folder}`)", hint=hint)
    if found.has_errors:
        raise NestError(found)
    with torch.no_grad():
        for name, tensors in given.items():
            for part, tensor in tensors.items():
                wanted[name][part].copy_(tensor)


_OTHER = "start from another run"


def _difference(
    name: str, given: Tensors | None, wanted: Tensors | None, starts_itself: bool
) -> tuple[str, str]:
    """What keeps a level from taking its weights, and what to do; empty if nothing does."""
    if wanted is None:
        return f"the donor has `{name}`, and this program has no such level", "give the level its name there"
    if given is None:
        if starts_itself:
            return "", ""
        hint = "give the level its name there, or say how it starts: `init normal(std)` or `init from`"
        return f"the donor has no `{name}`", hint
    for part in [*given, *(part for part in wanted if part not in given)]:
        there, here = (_form(tensors.get(part)) for tensors in (given, wanted))
        if there != here:
            return (
                f"the {part} of `{name}` is {there} in the donor, and {here} in this program",
                "make kinds and sizes equal, with --set for instance",
            )
        if given[part].is_floating_point() and not bool(given[part].isfinite().all()):
            return f"the {part} of `{name}` has numbers that are not finite in the donor", _OTHER
    return "", ""


def _form(tensor: torch.Tensor | None) -> str:
    if tensor is None:
        return "missing"
    kind = str(tensor.dtype).removeprefix("torch.")
    shape = " × ".join(map(str, tensor.shape)) or "one number"
    return shape if kind == "float32" else f"{shape} in {kind}"


def _by_level(plan: Plan, weights: Mapping[str, torch.Tensor]) -> dict[str, Tensors]:
    """All weights of a model by their levels' names; those of levels in context without their wrapping."""
    found: dict[str, Tensors] = {}
    for name, path in _paths(plan):
        own = {
            key.removeprefix(f"{path}.").removeprefix("layer."): tensor
            for key, tensor in weights.items()
            if key.startswith(f"{path}.")
        }
        if own:
            found[name] = own
    return found


def _paths(plan: Plan) -> Iterator[tuple[str, str]]:
    """The name of each level, copies numbered, with its place in the built model."""
    for level in plan.levels:
        for path in level.modules:
            name = level.name
            for number in (part for part in path.split(".") if part.isdigit()):
                name = name.replace("[*]", f"[{number}]", 1)
            yield name, path


def _plans(plan: Plan) -> Iterator[tuple[str, LevelPlan]]:
    """The name of each level with how it is built."""
    bodies = {body.name: body for body in plan.bodies}
    names = {path: name for name, path in _paths(plan)}

    def walk(body: Body, prefix: str) -> Iterator[tuple[str, LevelPlan]]:
        for level in body.levels:
            path = f"{prefix}{level.attribute}"
            if path in names:
                yield names[path], level
        for block in body.blocks:
            for number, inner in enumerate(block.bodies):
                place = f"{block.attribute}.{number}." if block.repeated else f"{block.attribute}."
                yield from walk(bodies[inner], prefix + place)

    return walk(plan.root, "")
