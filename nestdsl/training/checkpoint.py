"""One file that holds a whole run: the model, its optimizers, its plan, settings and step.

A checkpoint is written to a new name in its folder and renamed over the last one, so that the
folder holds a whole one at any moment, whatever ends the program.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from nestdsl.diagnostics import fail
from nestdsl.plan.plan import Plan
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.runtime.block import State
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.runtime.stream_tensors import stream_state, stream_tensors
from nestdsl.training.differences import first_difference
from nestdsl.training.figures import Figures
from nestdsl.training.settings import Settings, parse_settings

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule

FILE = "checkpoint.safetensors"
PLAN_FILE = "plan.yaml"
_FORMAT = "nestdsl checkpoint 1"
_MODEL, _OPTIMIZER, _STREAM = "model.", "optimizer.", "stream."


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: its step, its data, and its held-out figures before the first step.

    `compiled` is whether its model runs compiled, as it does again when the run is continued. `precision` is
    that of products which the program leaves to the machine (`NestModule.fix_precision`), empty if it
    leaves none: a run that is continued elsewhere keeps it.
    """

    step: int
    data_source: str
    data_fingerprint: str
    before: Figures
    compiled: bool = True
    precision: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as it was read. Tensors are named as in the model and in StepLevels."""

    folder: Path
    plan: Plan
    settings: Settings
    progress: Progress
    weights: Mapping[str, torch.Tensor]
    optimizer_state: Mapping[str, torch.Tensor]
    stream: Mapping[str, torch.Tensor]
    """What levels that are never reset carry on, by name; empty before the first step."""

    def apply(self, model: NestModule, levels: StepLevels | None = None) -> None:
        """Gives the model these weights, and its step levels their state.

        Raises NestError N0502, naming the first difference, if the model has another plan.
        """
        difference = first_difference(self.plan, model.plan)
        if difference:
            raise fail(
                "N0502",
                f"the checkpoint in `{self.folder}` is of another program: {difference}",
                hint="give the program and the --set values of that run, or another --out for a new run",
            )
        model.load_state_dict(dict(self.weights))
        if levels is not None:
            levels.load_state_tensors(self.optimizer_state)

    def stream_of(self, model: NestModule) -> State | None:
        """The state with which the stream of this run goes on; None where there is none to carry.

        Raises NestError N0502 if not all of it is there.
        """
        if not model.carries_state() or self.progress.step == 0:
            return None
        try:
            return stream_state(model, self.settings.batch, self.stream)
        except ValueError as error:
            raise fail(
                "N0502",
                f"the state of the stream in `{self.folder}` is not whole: {error}",
                hint="start a new run with another --out",
            ) from error


def save(
    folder: Path,
    model: NestModule,
    levels: StepLevels,
    settings: Settings,
    progress: Progress,
    stream: State | None = None,
) -> None:
    """Replaces the checkpoint in `folder` in one move. Raises NestError N0504 if it cannot be written."""
    tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    tensors |= {_OPTIMIZER + name: tensor for name, tensor in levels.state_tensors().items()}
    if stream is not None:
        tensors |= {_STREAM + name: tensor for name, tensor in stream_tensors(model, stream).items()}
    plan = _plan_text(model.plan)
    # One entry, because safetensors writes several in an order that changes from run to run.
    described = {"settings": settings.as_dict(), "progress": asdict(progress), "plan": plan}
    metadata = {_FORMAT: json.dumps(described)}
    new = folder / f".{FILE}.new"
    try:
        (folder / PLAN_FILE).write_text(plan, encoding="utf-8")  # for people; nothing reads it
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, new, metadata)
        shutil.copymode(folder / PLAN_FILE, new)  # safetensors lets nobody else read what it writes
        _replace(new, folder / FILE)
    except (OSError, SafetensorError) as error:
        hint = "the last whole checkpoint is still there" if (folder / FILE).exists() else ""
        raise fail("N0504", f"a checkpoint cannot be written to `{folder}`: {error}", hint=hint) from error


def load(folder: Path) -> Checkpoint:
    """Reads the checkpoint of a run. Raises NestError: N0003 if there is none, N0502 if it is damaged."""
    path = folder / FILE
    if not os.path.isfile(path):
        hint = "give the folder that `nestdsl train` wrote with --out"
        raise fail("N0003", f"there is no checkpoint `{path}`", hint=hint)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except SafetensorError as error:
        hint = "it is damaged or was written by another program; start a new run"
        raise fail("N0502", f"`{path}` is not a whole checkpoint: {error}", hint=hint) from error
    except OSError as error:
        raise fail("N0003", f"cannot read `{path}`: {error.strerror}") from error
    try:
        described = json.loads(metadata[_FORMAT])
        plan, progress = from_yaml(described["plan"]), Progress(**described["progress"])
        settings = parse_settings(described["settings"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        message = f"`{path}` is not a checkpoint of this version of nestdsl"
        raise fail("N0502", message, hint="start a new run") from error
    parts = (_part(tensors, prefix) for prefix in (_MODEL, _OPTIMIZER, _STREAM))
    return Checkpoint(folder, plan, settings, progress, *parts)


_plan_text = lru_cache(maxsize=1)(to_yaml)  # a run writes the same plan again and again


def _part(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _replace(new: Path, path: Path) -> None:
    """Moves a written file over another, so that after a crash either the old or the new one is whole."""
    with open(new, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(new, path)
    if os.name != "posix":  # elsewhere a folder cannot be opened
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
