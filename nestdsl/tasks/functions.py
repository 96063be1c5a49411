"""A stream of linear functions that change without notice, each to be learned while it holds.

At token t of a sequence a function is seen at one place, with noise:

    y_t = W x_t + 0.1 n_t,    x_t ~ N(0, I),  n_t ~ N(0, I)

W [4, 8], of elements of variance 1/8, is drawn at the start of each sequence and, with probability
1/64, anew at any later token. The input is x_t beside what came of the token before, y_{t-1} (0 at
first); the target is y_t. So the mean square of a target is 1.01, of which 0.01 cannot be known.
"""

from __future__ import annotations

import torch

PLACE, VALUE = 8, 4
INPUT = PLACE + VALUE
NOISE = 0.1
CHANGE = 1 / 64


def draw_functions(batch: int, tokens: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs [batch, tokens, 12] and targets [batch, tokens, 4]."""
    changes = torch.rand(batch, tokens, generator=generator) < CHANGE
    number = changes.cumsum(1)
    weights = torch.randn(batch, tokens + 1, VALUE, PLACE, generator=generator) / PLACE**0.5
    rows = torch.arange(batch)[:, None]
    places = torch.randn(batch, tokens, PLACE, generator=generator)
    noise = NOISE * torch.randn(batch, tokens, VALUE, generator=generator)
    values = torch.einsum("btvp,btp->btv", weights[rows, number], places) + noise
    before = torch.cat((torch.zeros(batch, 1, VALUE), values[:, :-1]), 1)
    return torch.cat((places, before), -1), values
