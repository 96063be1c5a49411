"""A trained model again, from the folder of its run alone."""

from __future__ import annotations

from pathlib import Path

import torch

from nestdsl.diagnostics import fail
from nestdsl.runtime.module import NestModule, build
from nestdsl.training.checkpoint import Checkpoint, load


def restore(folder: str | Path, device: str = "cpu", compile: bool = False) -> tuple[NestModule, Checkpoint]:
    """The model of the last checkpoint in `folder`, on `device`, and that checkpoint.

    Raises NestError: N0003 or N0502 as `checkpoint.load` does, N0203 for a device that is not there.
    """
    place = usable_device(device)
    checkpoint = load(Path(folder))
    model = build(checkpoint.plan, compile=compile, device=place)
    checkpoint.apply(model)
    return model, checkpoint


def usable_device(name: str) -> torch.device:
    """The torch device of this name. Raises NestError N0203 if torch does not know it or it is not there."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise fail("N0203", f"device `{name}` cannot be used: {reason}", hint="write --device cpu") from error
    return device
