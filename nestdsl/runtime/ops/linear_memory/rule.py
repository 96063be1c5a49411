"""What a linear memory does with a token, and what it carries from call to call.

Shapes: B batch rows, T tokens, H heads, K key size, V value size (both of one head).
The state S [B, H, K, V] is the memory matrix transposed, S = Mᵀ, so that a read is qᵀ S.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nestdsl.runtime.ops.memory_rule import (
    Gradient,
    MemoryRule,
    Objective,
    Optimizer,
    Read,
    State,
    Toward,
    zeros,
)


@dataclass(frozen=True, slots=True)
class LinearRule(MemoryRule):
    """The recurrence of a linear memory, with step η, retain α and momentum μ (one each per head and token).

    objective: what -∇L writes, w = η e with e = v - Sᵀ k for "l2" (½‖M k - v‖², [Nested Learning, Eq. 93]); e
    = v for "dot"
        (-⟨M k, v⟩, [Nested Learning, Eq. 92]); e = |v - Sᵀ k|^{p-1} sign(v - Sᵀ k) for "lp" (‖M k - v‖_p^p /
        p).
    optimizer: "gd"            S ← α S + k wᵀ
               "dgd"           S ← (α I - η k kᵀ) S + k wᵀ [Nested Learning, Eq. 88]
               "momentum"      U ← μ U + k wᵀ, S ← α S + U [Titans, Eq. 13-14]
               "dgd_momentum"  U ← μ U + k wᵀ, S ← (α I - η k kᵀ) S + U
        With either form of dgd, η stands for η / (1 + η ‖k‖²), the exact step of [Nested Learning, Eq. 57].
        "gd" with "l2" takes each gradient at the running state. All others take it at the start of the
        token's chunk [Nested Learning, Eq. 90, 16]; the decays still run token by token, and chunk 1 is the
        exact recurrence.
    forget_first: for "gd" with "l2" and period 1, the gradient is that of what α leaves,
        S ← α S + η k (v - (α S)ᵀ k)ᵀ: the gated delta rule as published (Yang et al. 2024, eq. 10). With
        an α for each key channel it is that of Kimi Delta Attention (Kimi Team 2025).
    toward: what α decays to: "zero", or "init", the initial state, α S + (1 - α) S_0 for α S.
    period: 1 moves the state at every token; N > 1 moves it after every N tokens of the context, by the
        means of writes, decays along the key, α and μ over these tokens, all taken at the period's start.
        A period that is not full moves nothing.
    chunk: how many tokens a chunk has, counted from the start of the context: gradients that are taken at
        its start, and "anchor" reads, see the state there. None: each call is one chunk for the gradients,
        and there are no anchor reads. With a period above 1 an anchor is the period's start, whatever the
        chunk is.
    gradient: "through" differentiates through every write. "stop" holds what is written constant, decay
        along the key included: key, value, step, retain and momentum get no gradient from this memory, and
        the initial state gets its first-order gradient, that is, through the decays α only.

    Raises ValueError if a field is out of range.
    """

    objective: Objective = "l2"
    period: int = 1
    chunk: int | None = None
    gradient: Gradient = "through"
    optimizer: Optimizer = "gd"
    toward: Toward = "zero"
    p: float = 2.0
    forget_first: bool = False

    def __post_init__(self) -> None:
        MemoryRule.__post_init__(self)
        if self.forget_first and (self.optimizer, self.objective, self.period) != ("gd", "l2", 1):
            raise ValueError(
                "forget_first needs the optimizer gd, the objective l2 and an update at every token, not "
                f"{self.optimizer}, {self.objective} and a period of {self.period}"
            )

    @property
    def is_stale(self) -> bool:
        """Whether gradients hang on the state at the chunk's start."""
        if self.period > 1 or self.objective == "dot":
            return False
        return self.optimizer != "gd" or self.objective == "lp"

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

    def require_factors(self, key: Tensor, retain: Tensor, momentum: Tensor | None) -> None:
        """Raises ValueError if a factor is missing, or the rule has no place for it."""
        self.require_momentum(momentum)
        if retain.dim() != key.dim():
            return
        if self.has_momentum or self.objective == "lp" or self.period > 1:
            raise ValueError(
                "retain per key channel needs the optimizer gd or dgd, the objective l2 or dot and an update "
                f"at every token, not {self.optimizer}, {self.objective} and a period of {self.period}"
            )
        if self.is_stale and self.chunk != 1:
            raise ValueError(
                "retain per key channel with the optimizer dgd and the objective l2 needs chunk 1"
            )


def initial_state(matrix: Tensor, rule: LinearRule) -> State:
    """The state at the start of a context whose memory starts at `matrix` [B, H, K, V].

    "matrix" always; "momentum" [B, H, K, V] (U) with momentum; "start" (S_0) if α decays to it; "anchor"
    (the matrix at the start of the current chunk) if the rule keeps one. With a period the sums over the
    unfinished one: "gradient" [B, H, K, V] (writes), "decay" [B, H, K, V] (along the key) with dgd, "retain"
    and, with momentum, "momentum_sum" [B, H]. "position" [B], whole numbers, counts tokens modulo the
    chunk or the period.
    """
    state = {"matrix": matrix}
    if rule.has_momentum:
        state["momentum"] = zeros(matrix)
    if rule.toward == "init":
        state["start"] = matrix
    if rule.period > 1:
        state["gradient"] = zeros(matrix)
        state["retain"] = zeros(matrix[..., 0, 0])
        if rule.decays_along_key:
            state["decay"] = zeros(matrix)
        if rule.has_momentum:
            state["momentum_sum"] = zeros(matrix[..., 0, 0])
    if rule.keeps_anchor:
        state["anchor"] = matrix
    if rule.period > 1 or rule.keeps_anchor:
        state["position"] = torch.zeros(matrix.shape[0], dtype=torch.int64, device=matrix.device)
    return state
