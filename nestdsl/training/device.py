"""Devices by name."""

from __future__ import annotations

import torch

from nestdsl.diagnostics import NestError, fail
from nestdsl.memory import fits_memory
from nestdsl.ranges import shown
from nestdsl.semantics.suggestions import listed


def usable_device(name: str | torch.device) -> torch.device:
    """The torch device of this name, on which a model can run: the CPU, or the accelerator of this machine.

    Raises NestError N0203, with the devices that are there, for any other, and for one that does not work.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise _unusable(name, "torch knows no such device") from error
    if device.type == "meta":
        raise _unusable(name, "it has the shapes of tensors, but no numbers")
    here = _devices()
    if device not in here:
        raise _unusable(name, "it is not there")
    try:
        with fits_memory(f"the first number on device `{device}`"):
            torch.zeros(1, device=device).item()
    # A driver or a build of torch says no in each of these ways.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise _unusable(name, str(error).partition("\n")[0]) from error
    return torch.device("cpu") if device.type == "cpu" else device


def _devices() -> tuple[torch.device, ...]:
    """Those of this machine, each with and without a number."""
    found = [torch.device("cpu"), torch.device("cpu", 0)]
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is not None:
        numbers = range(torch.accelerator.device_count())
        found += [torch.device(accelerator.type), *(torch.device(accelerator.type, one) for one in numbers)]
    return tuple(found)


def _unusable(name: object, reason: str) -> NestError:
    names = [str(device) for device in _devices() if str(device) != "cpu:0"]
    hint = f"there {'are' if len(names) > 1 else 'is'} {listed(names)}"
    written = str(name) if isinstance(name, str | torch.device) else shown(name)
    return fail("N0203", f"device `{written}` cannot be used: {reason}", hint)
