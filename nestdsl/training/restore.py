"""A trained model again, from the folder of its run alone."""

from __future__ import annotations

import os
import warnings

import torch

from nestdsl.diagnostics import NestError, fail
from nestdsl.given import require_bool
from nestdsl.memory import fits_memory
from nestdsl.plan.cost import least_weights
from nestdsl.runtime.build import build
from nestdsl.runtime.module import NestModule
from nestdsl.training.checkpoint import Checkpoint, load
from nestdsl.training.data.interface import Data
from nestdsl.training.data.sources import read_data
from nestdsl.training.device import usable_device
from nestdsl.training.folders import run_folder
from nestdsl.training.imports import require_imports


def restore(
    folder: str | os.PathLike[str], device: torch.device | str = "cpu", *, compile: bool = True
) -> NestModule:
    """The model of the run in `folder` as its last checkpoint has it, in the precision of its weights.

    Neither its program nor a file of `init from` is needed. Where the last checkpoint is damaged, a
    RuntimeWarning tells of it and the one before is read. Raises NestError: N0003 or N0502 where there
    is no such run, N0203 for a device that is not there, N0104 for an argument of another type, N0105 where
    it needs a kind or function from Python whose module is not imported.

        model = nestdsl.restore("runs/text")
        logits, state = model(ids)
    """
    require_bool("`compile`", compile)
    model, saved = restored(folder, device, compile)
    warn_of_damage(saved, stacklevel=3)
    return model


@fits_memory("the model of the run")
def restored(
    folder: str | os.PathLike[str], device: torch.device | str = "cpu", compile: bool = False
) -> tuple[NestModule, Checkpoint]:
    """The model of a run on `device`, and the checkpoint that it is from. Errors are those of `restore`."""
    place = usable_device(device)
    saved = load(run_folder(folder, "the folder of the run"))
    model = rebuilt(saved, place, compile)
    saved.apply(model)
    model.fix_precision(saved.progress.precision)
    return model, saved


def rebuilt(saved: Checkpoint, device: torch.device | str, compile: bool) -> NestModule:
    """A model for the weights of a checkpoint, in their precision.

    Raises NestError N0502, before anything is allocated, where its plan is of more weights than it has, and
    N0105 where it needs Python that is not imported.
    """
    require_imports(saved.progress.imports, saved.folder)
    stored = sum(weight.numel() for weight in saved.weights.values())
    wanted = least_weights(saved.plan)
    if wanted > stored:
        raise fail(
            "N0502",
            f"the weights in `{saved.path}` are not those of its program: {stored:,} numbers of {wanted:,}",
            "start a new run with another --out",
        )
    return build(saved.plan, compile=compile, device=device, load=False).to(saved.dtype)


def warn_of_damage(saved: Checkpoint, stacklevel: int) -> None:
    """Warns Python's callers of newer checkpoints that could not be read."""
    for warning in saved.warnings:
        warnings.warn(f"{warning.message}: {warning.hint}", RuntimeWarning, stacklevel=stacklevel)


def data_of(saved: Checkpoint) -> Data:
    """The data that a run was trained on, read again from where it was.

    Raises NestError N0003 or N0501 if it is not there any more, or has changed.
    """
    try:
        data = read_data(saved.progress.data_source)
    except NestError as error:
        (found,) = error.diagnostics
        hint = f"it is the data of the run in `{saved.folder}`; say with --data where it is now"
        raise fail(found.code, found.message, hint=hint) from error
    verify_same_data(data, saved)
    return data


def verify_same_data(data: Data, saved: Checkpoint) -> None:
    """Raises NestError N0501 if a run was trained on other data than this."""
    if data.fingerprint != saved.progress.data_fingerprint:
        raise fail(
            "N0501",
            f"`{data.source}` is not the data that the run in `{saved.folder}` was trained on, "
            f"`{saved.progress.data_source}` as it was then",
            hint="say with --data where that data is, unchanged, or start a new run with another --out",
        )
