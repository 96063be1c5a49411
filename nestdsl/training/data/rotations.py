"""A stream of vectors turned by a rotation that is to be learned while it holds.

    x_{t+1} = √(1 − σ²) R x_t + σ n_t,    x_0, n_t ~ N(0, I),  σ = 0.1

R [16, 16] is orthogonal, drawn evenly at the start of each sequence and, with probability 1/64, again
before any later token. The input is x_t and the target x_{t+1}. The mean square of a target is 1, of
which σ² = 0.01 cannot be known.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch

from nestdsl.diagnostics import fail
from nestdsl.plan.cost import BYTES
from nestdsl.plan.plan import Plan
from nestdsl.training.data.interface import (
    TASK,
    Batch,
    HeldOut,
    mixed_seed,
    no_stream,
    require_objective,
    require_sequences,
)
from nestdsl.training.figures import Unit

SIZE = 16
NOISE = 0.1
CHANGE = 1 / 64

SQUARED_ERROR = Unit("squared_error", "squared error", "error", 1.0)

RULE = f"rotations of {SIZE} features, noise {NOISE}, changes {CHANGE}"
"""What the task is, for its fingerprint: two rules that differ make other data."""


def draw_rotations(batch: int, tokens: int, generator: torch.Generator) -> Batch:
    """Inputs and targets, each [batch, tokens, 16]."""
    number = (torch.rand(batch, tokens, generator=generator) < CHANGE).cumsum(1)
    drawn = torch.randn(batch, int(number.max()) + 1, SIZE, SIZE, generator=generator)
    q, r = torch.linalg.qr(drawn)
    rotations = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)  # without it, not drawn evenly
    keep = (1 - NOISE**2) ** 0.5
    rows = torch.arange(batch)
    stream = [torch.randn(batch, SIZE, generator=generator)]
    for token in range(tokens):
        turned = (rotations[rows, number[:, token]] @ stream[-1].unsqueeze(-1)).squeeze(-1)
        stream.append(keep * turned + NOISE * torch.randn(batch, SIZE, generator=generator))
    whole = torch.stack(stream, 1)
    return whole[:, :-1], whole[:, 1:]


@dataclass(frozen=True)
class RotationData:
    """A stream of vectors whose next is to be told."""

    source: str = field(default=TASK + "rotations", init=False)
    fingerprint: str = field(default=hashlib.blake2b(RULE.encode(), digest_size=16).hexdigest(), init=False)
    unit: Unit = field(default=SQUARED_ERROR, init=False)
    tokens: None = field(default=None, init=False)
    is_exact: bool = field(default=False, init=False)

    def __str__(self) -> str:
        return f"{self.source}: vectors turned by a rotation that changes without notice; which comes next?"

    def batch(self, step: int, seed: int, batch: int, tokens: int) -> Batch:
        return draw_rotations(
            batch, tokens, torch.Generator().manual_seed(mixed_seed(seed, step, "rotations"))
        )

    def following(self, step: int, batch: int, tokens: int) -> Batch:
        raise no_stream(self.source)

    def held_out(self, count: int | None, tokens: int) -> tuple[HeldOut, ...]:
        """Sequences that no step sees; there are always more, so all means 64."""
        count = 64 if count is None else count
        require_sequences(self.source, count, tokens, 2 * SIZE * BYTES)
        drawn = [
            draw_rotations(
                1, tokens, torch.Generator().manual_seed(mixed_seed(0, number, "held-out rotations"))
            )
            for number in range(count)
        ]
        inputs, targets = (torch.cat(parts) for parts in zip(*drawn, strict=True))
        return (HeldOut("held_out", inputs, targets),)

    def verify(self, tokens: int, plan: Plan) -> None:
        """Raises NestError N0501 if the model is not one of vectors of this size."""
        if (plan.input.takes, plan.input.size, plan.output_size) != ("vectors", SIZE, SIZE):
            raise fail(
                "N0501",
                f"`{self.source}` gives vectors of {SIZE} and asks for the next; model `{plan.model}` has "
                f"`input {plan.input.takes}({plan.input.size})` and gives {plan.output_size}",
                hint=f"write `input vectors({SIZE})`; let the last level before `out` be `linear({SIZE})`",
            )
        require_objective("mse", plan, f"the targets of `{self.source}` are vectors")

    def spare(self, plan: Plan) -> str:
        return ""
