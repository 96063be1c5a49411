"""The models by which it is shown that ours are ordinary modules of PyTorch, small and in float64."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import nestdsl
from nestdsl.runtime.module import NestModule

EXAMPLES = Path(__file__).parents[3] / "examples"
NAMES = ("transformer", "gated_delta", "hope", "titans_mac", "multirate")
SMALLER: dict[str, dict[str, int]] = {
    "transformer": {"dim": 16, "heads": 2},
    "gated_delta": {"dim": 16, "heads": 2},
    "hope": {"dim": 16, "heads": 2, "period": 4},
    "titans_mac": {"dim": 16, "heads": 2},
    "multirate": {"dim": 16},
}
TOKENS = 20
VOCAB = 256


def model_of(name: str, *, compile: bool = False, seed: int = 0) -> NestModule:
    """One of the examples with small sizes, in float64."""
    program = nestdsl.load(EXAMPLES / f"{name}.nest", **SMALLER[name])
    return program.compile(compile=compile, seed=seed).double()


def sample(batch: int = 2, tokens: int = TOKENS, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Ids and targets [batch, tokens]."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(VOCAB, (batch, tokens + 1), generator=draw)
    return ids[:, :-1], ids[:, 1:]


def leaves(state: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a state, by where they stand."""
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ()
    for key, part in items:
        yield from leaves(part, f"{path}/{key}")
    if isinstance(state, Tensor):
        yield path, state


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


def results(model: Any, *, after: int = 7) -> dict[str, Tensor]:
    """All that a model gives: outputs from the start and from a state, the next state, the loss, and the
    gradients of both."""
    ids, targets = sample()
    found: dict[str, Tensor] = {}
    first, state = model(ids[:, :after])
    second, state = model(ids[:, after:], state)
    found["outputs"] = torch.cat((first, second), 1)
    found |= {f"state{path}": part.detach() for path, part in leaves(state)}
    model.zero_grad()
    found["outputs"].square().mean().backward()
    found |= {f"of outputs: {name}": part for name, part in gradients(model).items()}
    model.zero_grad()
    found["loss"], _ = model(ids, targets=targets)
    found["loss"].backward()
    found |= {f"of loss: {name}": part for name, part in gradients(model).items()}
    return {name: part.detach() for name, part in found.items()}


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor], **tolerance: float) -> None:
    assert found.keys() == wanted.keys()
    tolerance = tolerance or {"rtol": 1e-9, "atol": 1e-11}
    for name, part in wanted.items():
        torch.testing.assert_close(
            found[name], part, msg=lambda text, name=name: f"{name}: {text}", **tolerance
        )
