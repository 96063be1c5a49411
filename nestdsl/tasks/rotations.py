"""A stream of vectors turned by a rotation that is to be learned while it holds.

    x_{t+1} = √(1 − σ²) R x_t + σ n_t,    x_0, n_t ~ N(0, I),  σ = 0.1

R [16, 16] is orthogonal, drawn evenly at the start of each sequence and, with probability 1/64, anew
before any later token. The input is x_t and the target x_{t+1}. The mean square of a target is 1, of
which σ² = 0.01 cannot be known.
"""

from __future__ import annotations

import torch

SIZE = 16
NOISE = 0.1
CHANGE = 1 / 64

RULE = f"rotations of {SIZE} features, noise {NOISE}, changes {CHANGE}"
"""What the task is, for its fingerprint: two rules that differ make other data."""


def draw_rotations(batch: int, tokens: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
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
