"""Whether a step of training fits into memory: judged beforehand, and said where it does not all the same."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from nestdsl.memory import fits_memory
from nestdsl.runtime.memory import require_memory, training_bytes
from nestdsl.training.settings import Settings

if TYPE_CHECKING:
    from nestdsl.runtime.module import NestModule

_HINT = "lower --batch or --tokens, or the model's sizes"


def require_step_memory(model: NestModule, settings: Settings) -> None:
    """Raises NestError N0503 if not even the least that a step needs is free. The weights are there."""
    device = next(model.parameters()).device
    needed = training_bytes(model.plan, settings.batch, settings.tokens)
    require_memory(needed - model.plan.costs.parameter_bytes, device, _training(settings), _HINT)


def step_fits_memory(settings: Settings) -> AbstractContextManager[None]:
    """Raises NestError N0503 for memory that is refused inside."""
    return fits_memory(_training(settings), _HINT)


def _training(settings: Settings) -> str:
    return f"training with {settings.batch:,} sequences of {settings.tokens:,} tokens"
