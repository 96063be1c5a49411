"""`associative(hidden, step, retain)`: a network N(u) = u + W1 silu(W2 u), of the rows of a key.

Its state is W2 [..., hidden, columns] and W1 [..., columns, hidden].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nestdsl.runtime.optimizer.gradient_memories.rule import Number, Operated, Rule, State, StepWriter


def _answer(state: State, u: Tensor) -> Tensor:
    """N(u) = u + W1 silu(W2 u) of each row of u."""
    inner, outer = state
    return u + torch.nn.functional.silu(u @ inner.mT) @ outer.mT


def _move(state: State, learned: tuple[Any, ...], rates: Mapping[str, Number]) -> State:
    """W = retain W - step ∂/∂W ½ mean over rows of ‖N(key) - value‖², of both matrices."""
    (inner, outer), (key, value) = state, learned
    step, retain = rates["step"], rates["retain"]
    z = key @ inner.mT
    gate = torch.sigmoid(z)
    hidden = z * gate
    error = (key + hidden @ outer.mT - value) / key.shape[-2]
    back = (error @ outer) * (gate + hidden * (1 - gate))
    return retain * inner - step * (back.mT @ key), retain * outer - step * (error.mT @ hidden)


def _steps(writer: StepWriter, learned: tuple[Operated, ...]) -> tuple[str, ...]:
    return writer.add_all("learned", *writer.states, *learned, writer.rate("step"), writer.rate("retain"))


def _learned(inner: Tensor, outer: Tensor, key: Tensor, value: Tensor, step: Number, retain: Number) -> State:
    return _move((inner, outer), (key, value), {"step": step, "retain": retain})


ASSOCIATIVE = Rule(
    "associative",
    _move,
    _steps,
    _answer,
    "network",
    {"learned": _learned, "network": lambda inner, outer, key: _answer((inner, outer), key)},
)
