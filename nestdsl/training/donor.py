"""Starts a program from the weights of a trained one, level by level (Behrouz et al., 2025, Sec. 7.3).

Levels are known by their names in the programs: `stack[1].think` is the level of the second copy of a
`repeat` as well as of the second element of an array, whether it moves once in steps or in tokens. Stages of
a flow that have no name are known by what they are (`matching.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nestdsl.diagnostics import Diagnostics, NestError
from nestdsl.plan.plan import Plan
from nestdsl.plan.starts import word_of
from nestdsl.semantics.suggestions import listed
from nestdsl.training.checkpoint import Checkpoint
from nestdsl.training.matching import levels_by_path, match, paths, stages_of
from nestdsl.vocabulary.starts import LEARNED

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule

Tensors = dict[str, torch.Tensor]
"""The weights of one level, by their names in it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a model took from another run: levels and tensors, and how those levels differ here, in words.

    own_starts: the levels of the model that started as they say themselves.
    """

    folder: Path
    step: int

    levels: int
    tensors: int
    remarks: tuple[str, ...]
    own_starts: tuple[str, ...]

    def __str__(self) -> str:
        """Lines for a reader: what was taken, what was not, and what differs."""
        lines = [f"starting from the weights of {self.folder} after {self.step} steps: "]
        lines[0] += f"{self.tensors} tensors of {self.levels} levels"
        if self.own_starts:
            lines.append(f"  as they say themselves start {listed(self.own_starts)}")
        return "\n".join((*lines, *(f"  {remark}" for remark in self.remarks)))


def take_weights(model: NestModule, donor: Checkpoint) -> Taken:
    """Gives a model the weights of a trained one. Raises NestError N0502 with all that does not match.

    Every level of the donor has to have its level in the model (`matching.py` says which that is). A level
    that the donor lacks has to say how it starts: with anything but `init learned`.
    """
    there, here = stages_of(donor.plan), stages_of(model.plan)
    matched = match(there, here)
    back = {other: name for name, other in matched.names.items()}
    given = _by_level(donor.plan, donor.weights)
    wanted = _by_level(model.plan, model.state_dict())
    own_starts = _own_starts(model.plan)
    found = Diagnostics()
    for words in matched.undecided:
        found.report("N0502", f"{words} {_of(donor)}", None, _NAME_THEM)
    read = {id(tensor) for tensors in given.values() for tensor in tensors.values()}
    for name in (name for name, tensor in donor.weights.items() if id(tensor) not in read):
        found.report(
            "N0502", f"the run in `{donor.folder}` has {name!a}, which is of none of its levels", None, _OTHER
        )
    for name in given:
        message, hint = _difference(name, back.get(name, ""), given[name], wanted.get(back.get(name, "")))
        if message:
            found.report("N0502", f"{message} {_of(donor)}", hint=hint)
    alone = [name for name in wanted if matched.names.get(name) not in given]
    for name in alone:
        if name not in own_starts:
            found.report("N0502", f"the donor has no `{name}` {_of(donor)}", hint=_NEW)
    if found.has_errors:
        raise NestError(found)
    with torch.no_grad():
        for name, tensors in given.items():
            for part, tensor in tensors.items():
                wanted[back[name]][part].copy_(tensor)
    tensors = sum(map(len, given.values()))
    step = donor.progress.step
    return Taken(donor.folder, step, len(given), tensors, matched.remarks, tuple(alone))


_OTHER = "start from another run"
_NAME_THEM = "give them names in both programs: `level first = linear(64)`"
_NEW = "give the level its name there, or say how it starts: `init normal(std)` or `init from`"


def _of(donor: Checkpoint) -> str:
    return f"(the donor is the run in `{donor.folder}`)"


def _difference(name: str, own: str, given: Tensors, wanted: Tensors | None) -> tuple[str, str]:
    """What keeps a level of the donor, here `own`, from giving its weights, and what to do; or nothing."""
    if wanted is None:
        return f"the donor has `{name}`, and this program has no such level", "give the level its name there"
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
    for name, path in paths(plan):
        own = {
            key.removeprefix(f"{path}.").removeprefix("layer."): tensor
            for key, tensor in weights.items()
            if key.startswith(f"{path}.")
        }
        if own:
            found[name] = own
    return found


def _own_starts(plan: Plan) -> set[str]:
    """The levels that say how they start: by a word of their own, or from a file."""
    from_files = {one.module for one in plan.weights}
    words = {path: word_of(level) for path, level in levels_by_path(plan)}
    return {name for name, path in paths(plan) if path in from_files or words[path] != LEARNED}
