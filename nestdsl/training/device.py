"""Devices by name."""

from __future__ import annotations

import torch

from nestdsl.diagnostics import fail


def usable_device(name: str | torch.device) -> torch.device:
    """The torch device of this name. Raises NestError N0203 if torch does not know it or it is not there."""
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    # Torch says no in each of these ways: an unknown name, no such hardware, a build without it.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        hint = "the device `cpu` is always there"
        raise fail("N0203", f"device `{name}` cannot be used: {reason}", hint=hint) from error
    return device
