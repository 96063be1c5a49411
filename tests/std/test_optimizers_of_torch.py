"""Optimizers that torch has as well: 200 steps from the same start agree to 1e-6, in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import nestdsl
from nestdsl.semantics.modules import library_module

STEPS = 200
LR, DECAY = 2.0**-10, 2.0**-6
"""Where weights decay by themselves. Torch multiplies them by 1 - LR DECAY, of which float32 keeps so little
of other values (1 - 1e-5 is off by 1.4e-8, at each step) that after 200 steps 1e-6 is lost."""
SHAPES = ((6, 4), (4, 6), (16, 16), (3, 40))
OTHERS = ((5,), (2, 4, 3), ())
"""Shapes that are no matrices."""

Torch = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
CASES: dict[str, tuple[str, dict[str, float], Torch]] = {
    "sgd": ("sgd", {"lr": 0.05}, lambda p: torch.optim.SGD(p, lr=0.05)),
    "sgd, momentum and decay": (
        "sgd",
        {"lr": 0.05, "momentum": 0.9, "decay": 0.01},
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    ),
    "momentum": ("momentum", {"lr": 0.05}, lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
    "nesterov": (
        "nesterov",
        {"lr": 0.05, "decay": 0.01},
        lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01),
    ),
    "adam": (
        "adam",
        {"lr": 1e-3, "decay": 0.01},
        lambda p: torch.optim.Adam(p, lr=1e-3, weight_decay=0.01),
    ),
    "adamw": (
        "adamw",
        {"lr": LR, "beta1": 0.8, "beta2": 0.95, "decay": DECAY},
        lambda p: torch.optim.AdamW(p, lr=LR, betas=(0.8, 0.95), weight_decay=DECAY),
    ),
    "amsgrad": (
        "amsgrad",
        {"lr": 1e-3, "beta2": 0.9, "decay": 0.01},
        lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.9), weight_decay=0.01, amsgrad=True),
    ),
    "adamax": (
        "adamax",
        {"lr": 2e-3, "beta2": 0.9, "decay": 0.01},
        lambda p: torch.optim.Adamax(p, lr=2e-3, betas=(0.9, 0.9), weight_decay=0.01),
    ),
    "adagrad": (
        "adagrad",
        {"lr": 0.05, "decay": 0.01},
        lambda p: torch.optim.Adagrad(p, lr=0.05, weight_decay=0.01),
    ),
    "rmsprop": (
        "rmsprop",
        {"lr": 0.01, "momentum": 0.5, "decay": 0.01},
        lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5, weight_decay=0.01),
    ),
}


def weights(shapes: Sequence[tuple[int, ...]]) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(0.2 * torch.randn(shape, generator=generator)) for shape in shapes]


def pulled(parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The weights after all steps, each pulled to 0, with noise, by a force of its own."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        for number, parameter in enumerate(parameters, 1):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.grad = number * (parameter.detach() + 0.1 * noise)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


@pytest.mark.parametrize("case", CASES)
def test_it_is_that_of_torch(case: str) -> None:
    compare(case, is_compiled=False)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_it_is_that_of_torch_compiled(case: str) -> None:
    compare(case, is_compiled=True)


def compare(case: str, *, is_compiled: bool) -> None:
    name, parameters, of_torch = CASES[case]
    ours, theirs = weights(SHAPES + OTHERS), weights(SHAPES + OTHERS)
    found = pulled(ours, nestdsl.optimizer(f"std.optim:{name}", ours, compile=is_compiled, **parameters))
    torch.testing.assert_close(found, pulled(theirs, of_torch(theirs)), rtol=1e-6, atol=1e-6)


def test_muon_is_that_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the iteration in float32: in bfloat16 a last bit that differs is soon a first one."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    text = library_module("optim").source.text
    file = tmp_path / "precise.nest"
    file.write_text(text.replace("newton_schulz(nesterov)", 'newton_schulz(nesterov, precision = "float32")'))
    ours, theirs = weights(SHAPES), weights(SHAPES)
    found = pulled(ours, nestdsl.optimizer(f"{file}:muon", ours, compile=False, lr=LR, decay=DECAY))
    expected = pulled(theirs, torch.optim.Muon(theirs, lr=LR, weight_decay=DECAY))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_muon_leaves_what_is_no_matrix_to_adamw() -> None:
    ours, theirs = weights(OTHERS), weights(OTHERS)
    found = pulled(ours, nestdsl.optimizer("std.optim:muon", ours, compile=False, adamw_lr=LR, decay=DECAY))
    expected = pulled(theirs, torch.optim.AdamW(theirs, lr=LR, weight_decay=DECAY))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
