"""The checkpoints of a run: the model, its optimizers, its plan, settings and step, each in one file.

The last is `checkpoint.safetensors`; of those before, `keep` - 1 stay beside it under the number of their
step. A checkpoint is written elsewhere first and takes the place of the last one by one move, so that the
folder holds a whole one at any moment, whatever ends the program. Where the last one is damaged, the one
before it serves, with a warning.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from nestdsl.diagnostics import Diagnostic, NestError, Severity, fail
from nestdsl.plan.plan import Plan
from nestdsl.plan.yaml import from_yaml, to_yaml
from nestdsl.records import MismatchError, typed
from nestdsl.runtime.state import State
from nestdsl.runtime.step_levels import StepLevels
from nestdsl.runtime.stream_tensors import stream_state, stream_tensors
from nestdsl.training.checkpoint_file import Content, read_file, step_in, write_file
from nestdsl.training.data.interface import Data
from nestdsl.training.differences import first_difference
from nestdsl.training.figures import EXACT, Figures
from nestdsl.training.imports import are_imports
from nestdsl.training.settings import Settings
from nestdsl.training.staging import put_in_place, staging
from nestdsl.training.weights import Tensors, odd_weight

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule

FILE = "checkpoint.safetensors"
PLAN_FILE = "plan.yaml"
_BEFORE = re.compile(r"checkpoint-([0-9]{1,18})\.safetensors")
"""The name of a checkpoint that is no longer the last, with its step."""
_MODEL, _OPTIMIZER, _STREAM = "model.", "optimizer.", "stream."
_DAMAGED = "the damaged file as `….damaged`"
_DTYPES = frozenset(
    {torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.uint8}
    | {torch.bool}
)
_NEW_RUN = "start a new run with another --out"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: its step, its data, and its held-out figures before the first step.

    `compiled` is whether its model runs compiled, as it does again when the run is continued. `precision` is
    that of products which the program leaves to the machine (`NestModule.fix_precision`), empty if it
    leaves none: a run that is continued elsewhere keeps it. `imports` names the kinds and functions from
    Python that the run needs, each with the module that declares it.
    """

    step: int
    data_source: str
    data_fingerprint: str
    before: Figures
    compiled: bool = True
    precision: str = ""
    imports: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint as it was read. Tensors are named as in the model and in StepLevels.

    `warnings` says of newer ones that are damaged, and what was lost with them.
    """

    path: Path
    plan: Plan
    settings: Settings
    progress: Progress
    weights: Tensors
    optimizer_state: Tensors
    stream: Tensors
    """What levels that are never reset carry on, by name; empty before the first step."""
    warnings: tuple[Diagnostic, ...] = ()

    @property
    def folder(self) -> Path:
        return self.path.parent

    @property
    def dtype(self) -> torch.dtype:
        """The precision of its weights."""
        found = (weight.dtype for weight in self.weights.values() if weight.is_floating_point())
        return next(found, torch.get_default_dtype())

    def verify_figures(self, data: Data) -> None:
        """Raises NestError N0502 if not what this data is measured by was measured before the first step."""
        parts = [part.name for part in data.held_out(1, self.settings.tokens)]
        names = {f"{part}_{data.unit.name}" for part in parts}
        names |= {f"{part}_{EXACT}" for part in parts if data.is_exact}
        if names != set(self.progress.before):
            found, wanted = (", ".join(sorted(one)) or "nothing" for one in (self.progress.before, names))
            message = f"`{self.path}` has {found} of before the first step, and not {wanted}"
            raise fail("N0502", message, _NEW_RUN)

    def apply(self, model: NestModule, levels: StepLevels | None = None) -> None:
        """Gives the model these weights, and its step levels their state.

        Raises NestError N0502, naming the first difference, if the model has another plan, or if not
        exactly its weights and its state are there, of their shapes and types and finite.
        """
        difference = first_difference(self.plan, model.plan)
        if difference:
            raise fail(
                "N0502",
                f"the checkpoint in `{self.folder}` is of another program: {difference}",
                hint="give the program and the --set values of that run, or another --out for a new run",
            )
        if odd := odd_weight(self.weights, model):
            raise fail("N0502", f"the weights in `{self.path}` are not those of its program: {odd}", _NEW_RUN)
        model.load_state_dict(dict(self.weights))
        if levels is not None:
            try:
                levels.load_state_tensors(self.optimizer_state, self.progress.step)
            except ValueError as error:
                message = f"the state of the optimizers in `{self.path}` is not whole: {error}"
                raise fail("N0502", message, _NEW_RUN) from error

    def stream_of(self, model: NestModule) -> State | None:
        """The state with which the stream of this run goes on; None where there is none to carry.

        Raises NestError N0502 if not exactly that is there.
        """
        try:
            if not model.carries_state() or self.progress.step == 0:
                if self.stream:
                    raise ValueError(f"{next(iter(self.stream))!a} is of no level")
                return None
            return stream_state(model, self.settings.batch, self.stream)
        except ValueError as error:
            raise fail(
                "N0502", f"the state of the stream in `{self.path}` is not whole: {error}", _NEW_RUN
            ) from error

    def take_over(self) -> Checkpoint:
        """Makes this the last checkpoint of its folder. Damaged ones that came later stay beside it as
        `….damaged`. Raises NestError N0504 if that cannot be done."""
        if self.path.name == FILE:
            return self
        last = self.folder / FILE
        try:
            for path in (last, *_before(self.folder)):
                if path == self.path:
                    break
                if os.path.lexists(path):
                    os.replace(path, path.with_name(f"{path.name}.damaged"))
            os.replace(self.path, last)
        except OSError as error:
            raise fail("N0504", f"cannot write to `{self.folder}`: {error.strerror}") from error
        return replace(self, path=last)


def save(
    folder: Path,
    model: NestModule,
    levels: StepLevels,
    settings: Settings,
    progress: Progress,
    stream: State | None = None,
) -> None:
    """Writes the last checkpoint in `folder` and keeps those before it, `settings.keep` in all.

    Nothing is written through a link. Raises NestError N0504 if it cannot be written.
    """
    tensors = {_MODEL + name: tensor for name, tensor in model.state_dict().items()}
    tensors |= {_OPTIMIZER + name: tensor for name, tensor in levels.state_tensors().items()}
    if stream is not None:
        tensors |= {_STREAM + name: tensor for name, tensor in stream_tensors(model, stream).items()}
    plan = _plan_text(model.plan)
    described = {"settings": settings.as_dict(), "progress": asdict(progress), "plan": plan}
    try:
        with staging(folder) as new:
            (new / PLAN_FILE).write_text(plan, encoding="utf-8")  # for people; nothing reads it
            write_file(new / FILE, Content(tensors, described))
            shutil.copymode(new / PLAN_FILE, new / FILE)  # safetensors lets nobody else read what it writes
            _keep(folder, settings.keep, progress.step)
            put_in_place(new / PLAN_FILE, folder / PLAN_FILE)
            put_in_place(new / FILE, folder / FILE)
    except (OSError, SafetensorError) as error:
        hint = "make room there, or make the folder writable"
        hint += "; the last whole checkpoint is still there" if (folder / FILE).exists() else ""
        raise fail("N0504", f"a checkpoint cannot be written to `{folder}`: {error}", hint=hint) from error


_plan_text = lru_cache(maxsize=1)(to_yaml)  # a run writes the same plan again and again


def _keep(folder: Path, keep: int, step: int) -> None:
    """Gives the last checkpoint, before it is replaced by that of `step`, a name of its own; of all that
    have one, `keep` - 1 stay. Raises OSError."""
    last = folder / FILE
    if keep > 1 and (own := step_in(last)) is not None and own != step:
        named = folder / f"checkpoint-{own}.safetensors"
        if os.path.lexists(named):
            os.unlink(named)
        try:
            os.link(last, named)
        except OSError:  # a file system without links: for a moment there is none by the name of the last
            os.replace(last, named)
    same = folder / f"checkpoint-{step}.safetensors"  # of an attempt that ended before it was the last
    others = [path for path in _before(folder) if path != same]
    for path in (*others[keep - 1 :], *([same] if os.path.lexists(same) else ())):
        os.unlink(path)


def _before(folder: Path) -> list[Path]:
    """The checkpoints that are no longer the last, the newest first; each is of the step in its name."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    steps = {int(found[1]): folder / name for name in names if (found := _BEFORE.fullmatch(name))}
    own = {step: path for step, path in steps.items() if step_in(path) == step}
    return [own[step] for step in sorted(own, reverse=True)]


def names(folder: Path) -> list[str]:
    """The names of all checkpoints in a folder, whole or not."""
    return [FILE, *(path.name for path in _before(folder))]


def load(folder: Path) -> Checkpoint:
    """Reads the last checkpoint of a run, or, where that is damaged, the newest that is whole.

    Raises NestError: N0003 if there is none, N0502 if none is whole.
    """
    if os.path.isfile(folder):
        raise fail("N0003", f"`{folder}` is a file", f"give the folder that it is in: `{folder.parent}`")
    found: list[NestError] = []
    before = _before(folder)
    for path in (folder / FILE, *before):
        try:
            read = _read(path)
        except NestError as error:
            is_closed = os.path.isfile(path) and not os.access(path, os.R_OK)
            code = error.diagnostics[0].code
            if code != "N0502" and (is_closed or not before):
                raise
            found.append(error)
            continue
        return replace(read, warnings=tuple(_fallen_back(read, error) for error in found))
    raise found[0] if len(found) == 1 else _all_damaged(found)


def _all_damaged(found: list[NestError]) -> NestError:
    first = found[0].diagnostics[0]
    others = len(found) - 1
    more = f"the {others} before it cannot be read either" if others > 1 else "the one before it neither"
    return fail(first.code, f"{first.message}; {more}", _NEW_RUN)


def _fallen_back(read: Checkpoint, error: NestError) -> Diagnostic:
    used = f"`{read.path.name}` is used instead, of step {read.progress.step}"
    hint = f"what was learned after that step is lost; --resume learns it again, and keeps {_DAMAGED}"
    return Diagnostic(
        "N0502", f"{error.diagnostics[0].message}; {used}", None, hint, severity=Severity.WARNING
    )


def _read(path: Path) -> Checkpoint:
    """Reads one checkpoint and checks all that it says. Errors are those of `load`."""
    content = read_file(path)
    try:
        described = _described(content.description)
        plan = from_yaml(described.plan)
    except (MismatchError, NestError) as error:
        why = error.diagnostics[0].message if isinstance(error, NestError) else str(error)
        message = f"`{path}` is not a checkpoint of this version of nestdsl: {why}"
        raise fail("N0502", message, "start a new run") from error
    weights, optimizer_state, stream = _parts(content.tensors, path)
    return Checkpoint(path, plan, described.settings, described.progress, weights, optimizer_state, stream)


@dataclass(frozen=True, slots=True)
class _Described:
    """What describes a checkpoint beside its tensors."""

    settings: Settings
    progress: Progress
    plan: str


def _described(data: Mapping[str, Any]) -> _Described:
    """Raises MismatchError for anything but settings, progress and plan, each with its fields in range."""
    described = typed(dict(data), _Described, "it")
    for one in (*fields(Settings), *fields(Progress)):
        if one.name not in {**data["settings"], **data["progress"]}:
            raise MismatchError(f"it lacks `{one.name}`")
    progress, settings = described.progress, described.settings
    try:
        settings.verify()
    except NestError as error:
        raise MismatchError(f"of its settings, {error.diagnostics[0].message}") from error
    if not 0 <= progress.step <= settings.steps:
        raise MismatchError(f"it is of step {progress.step} of {settings.steps}")
    if progress.precision not in ("", "bfloat16", "float32"):
        raise MismatchError(f"its precision is {progress.precision[:40]!a}")
    if not are_imports(progress.imports):
        raise MismatchError("its imports are no names of modules")
    for name in progress.before:
        if not re.fullmatch(r"[a-z0-9_]{1,100}", name):
            raise MismatchError(f"no figure is called {name[:40]!a}")
    return described


def _parts(tensors: Tensors, path: Path) -> tuple[Tensors, Tensors, Tensors]:
    """The tensors of the model, of its optimizers and of the stream. Raises NestError N0502 for others."""
    parts: dict[str, dict[str, torch.Tensor]] = {_MODEL: {}, _OPTIMIZER: {}, _STREAM: {}}
    for name, tensor in tensors.items():
        prefix = next((prefix for prefix in parts if name.startswith(prefix)), None)
        if prefix is None:
            raise fail("N0502", f"`{path}` has a tensor {name!a}, which is of no part of a run", _NEW_RUN)
        if tensor.dtype not in _DTYPES:
            raise fail("N0502", f"`{path}` has {name!a} in {tensor.dtype}, which no run keeps", _NEW_RUN)
        parts[prefix][name.removeprefix(prefix)] = tensor
    return parts[_MODEL], parts[_OPTIMIZER], parts[_STREAM]
