"""What the rules of linear and of two-layer memories share."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

Objective = Literal["l2", "dot", "lp"]
Optimizer = Literal["gd", "dgd", "momentum", "dgd_momentum"]
Toward = Literal["zero", "init"]
Read = Literal["after", "before", "anchor"]
Gradient = Literal["through", "stop"]
State = dict[str, Tensor]


class MemoryRule:
    """The recurrence of a memory that learns token by token, or after every `period` tokens.

    The rule of each sort is a frozen dataclass with these fields, and says what its steps are.
    """

    __slots__ = ()

    CHOICES: ClassVar[dict[str, object]] = {
        "objective": Objective,
        "optimizer": Optimizer,
        "toward": Toward,
        "gradient": Gradient,
    }
    """The fields that hold one of some words, each with the type that lists them."""

    objective: Objective
    optimizer: Optimizer
    toward: Toward
    gradient: Gradient
    p: float
    period: int
    chunk: int | None

    def __post_init__(self) -> None:
        for name, words in self.CHOICES.items():
            if getattr(self, name) not in get_args(words):
                found = getattr(self, name)
                raise ValueError(f"{name} must be one of {', '.join(get_args(words))}, not {found!r}")
        if self.period < 1:
            raise ValueError(f"period must be at least 1, not {self.period}")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk must be at least 1, not {self.chunk}")
        if not 1 <= self.p < float("inf"):
            raise ValueError(f"p must be at least 1 and finite, not {self.p}")

    @property
    def decays_along_key(self) -> bool:
        return self.optimizer in ("dgd", "dgd_momentum")

    @property
    def has_momentum(self) -> bool:
        return self.optimizer in ("momentum", "dgd_momentum")

    @property
    def keeps_anchor(self) -> bool:
        """Whether the state must remember the weights at the start of the current chunk."""
        return self.period == 1 and self.chunk is not None and self.chunk > 1

    def effective_step(self, step: Tensor, key: Tensor) -> Tensor:
        """η of the equations [...], of step [...] and key [..., K]."""
        return step / (1 + step * key.square().sum(-1)) if self.decays_along_key else step

    def require_momentum(self, momentum: Tensor | None) -> None:
        """Raises ValueError if a momentum is missing, or the rule has no place for it."""
        if self.has_momentum and momentum is None:
            raise ValueError(f"the optimizer {self.optimizer} needs a momentum")
        if not self.has_momentum and momentum is not None:
            raise ValueError(f"the optimizer {self.optimizer} has no momentum")


def zeros(like: Tensor) -> Tensor:
    """Zeros of the same shape, precision and device, laid out plainly."""
    return torch.zeros(like.shape, dtype=like.dtype, device=like.device)


def detach_state(state: State) -> State:
    """The same state with its graph cut, as `gradient truncated` wants it where a segment ends.

    All but what the memory started from ("start", "start_inner", "start_outer"): that is no state that moved
    but the parameters themselves, and every segment's decay leads back to them.
    """
    return {name: part if name.startswith("start") else part.detach() for name, part in state.items()}
