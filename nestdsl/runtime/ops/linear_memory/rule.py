"""What a linear memory does with a token, and what it carries from call to call.

Shapes: B batch rows, T tokens, H heads, K key size, V value size (both of one head).
The state S [B, H, K, V] is the memory matrix transposed, S = Mᵀ, so that a read is qᵀ S.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Objective = Literal["l2", "dot"]
Read = Literal["after", "before", "anchor"]
Gradient = Literal["through", "stop"]
State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Rule:
    """The recurrence of a linear memory, with step η and retain α (one value per head and token).

    objective: "l2" writes e = η (v - Sᵀ k), the gradient of ½‖M k - v‖² [E93]; "dot" writes e = η v [E92].
    period: 1 moves the state at every token, S ← α S + k eᵀ; N > 1 moves it after every N tokens of
        the context, S ← mean(α) S + mean(k eᵀ), all errors taken at the period's start. A period
        that is not full moves nothing.
    chunk: how far apart the states lie that "anchor" reads see, counted from the start of the
        context; None if there are no such reads. With a period above 1 an anchor is the period's
        start, whatever the chunk is.
    gradient: "through" differentiates through every write. "stop" holds what is written constant:
        key, value, step and retain get no gradient from this memory, and the initial state gets
        its first-order gradient, that is, through the decays α only.

    Raises ValueError if a field is out of range.
    """

    objective: Objective = "l2"
    period: int = 1
    chunk: int | None = None
    gradient: Gradient = "through"

    def __post_init__(self) -> None:
        if self.objective not in ("l2", "dot"):
            raise ValueError(f"objective must be 'l2' or 'dot', not {self.objective!r}")
        if self.gradient not in ("through", "stop"):
            raise ValueError(f"gradient must be 'through' or 'stop', not {self.gradient!r}")
        if self.period < 1:
            raise ValueError(f"period must be at least 1, not {self.period}")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk must be at least 1, not {self.chunk}")

    @property
    def keeps_anchor(self) -> bool:
        """Whether the state must remember the matrix at the start of the current chunk."""
        return self.period == 1 and self.chunk is not None and self.chunk > 1

    def resolve(self, read: Read) -> Read:
        """The plainest read that sees the same state. Raises ValueError if the rule has no such read."""
        match read:
            case "after" | "before":
                return read
            case "anchor" if self.period > 1 or self.chunk == 1:
                return "before"
            case "anchor" if self.keeps_anchor:
                return read
            case "anchor":
                raise ValueError("an anchor read needs a chunk")
        raise ValueError(f"read must be 'after', 'before' or 'anchor', not {read!r}")


def initial_state(matrix: Tensor, rule: Rule) -> State:
    """The state at the start of a context whose memory starts at `matrix` [B, H, K, V].

    "matrix" always; "anchor" (the matrix at the start of the current chunk) if the rule keeps one;
    "gradient" [B, H, K, V] and "retain" [B, H] (the sums over the unfinished period) if it has a
    period. "position", a whole-number scalar, counts tokens modulo the chunk or the period.
    """
    state = {"matrix": matrix}
    if rule.period > 1:
        state["gradient"] = torch.zeros_like(matrix, requires_grad=False)
        state["retain"] = torch.zeros(matrix.shape[:2], dtype=matrix.dtype, device=matrix.device)
    if rule.keeps_anchor:
        state["anchor"] = matrix
    if rule.period > 1 or rule.keeps_anchor:
        state["position"] = torch.zeros((), dtype=torch.int64, device=matrix.device)
    return state
