"""What a two-layer memory does with a token, and what it carries from call to call.

M(z) = z + W_1 σ(W_2 z), for each head by itself [Nested Learning, Eq. 91]; without the residual z if the
sizes of key and value differ. Shapes: B batch rows, T tokens, H heads, K key size, V value size, D hidden
size (all of one head). Both matrices are stored transposed, inner = W_2ᵀ [B, H, K, D] and outer = W_1ᵀ [B, H,
D, V], so that a read is q + σ(qᵀ inner) outer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

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

Activation = Literal["gelu", "silu", "relu", "tanh"]


@dataclass(frozen=True, slots=True)
class DeepRule(MemoryRule):
    """The recurrence of a two-layer memory, with step η, retain α and momentum μ, one per head and token.

    For a key k and a value v, with z = W_2 k, h = σ(z) and the memory's output o = k + W_1 h:

        e = o - v (l2, ½‖o - v‖²), -v (dot, -⟨o, v⟩), |o - v|^{p-1} sign(o - v) (lp, ‖o - v‖_p^p / p)
        ∇W_1 = e hᵀ,  ∇W_2 = (σ'(z) ∘ W_1ᵀ e) kᵀ                  at the weights of the chunk's start

    optimizer: "gd"            W ← α W - η ∇W
               "dgd"           W_1 as gd; W_2 ← W_2 (α I - η k kᵀ) - η ∇W_2 [Nested Learning, Eq. 88]
               "momentum"      S ← μ S - η ∇W, W ← α W + S, for both matrices [Titans, Eq. 13-14]
               "dgd_momentum"  the same, and W_2 keeps the decay along the key
        With either form of dgd, η stands for η / (1 + η ‖k‖²), the exact step of [Nested Learning, Eq. 57].
    toward: what α decays to. "zero", or "init": the initial weights W_0, α W + (1 - α) W_0.
    chunk: the tokens of a chunk, counted from the start of the context, take their gradients at its start
        [Nested Learning, Eq. 90]; the weights still move at every token. 1 is the exact recurrence.
    period: N > 1 moves the weights after every N tokens of the context only, by the means of gradient,
        decay along the key, α and μ over these tokens, all at the period's start; a period that is not full
        moves nothing. The chunk then means nothing.
    gradient: "through" differentiates through every write. "stop" holds what is written constant, decay
        along the key included: key, value, step, retain and momentum get no gradient from this memory, and
        the initial weights get their first-order gradient, that is, through the decays α only.

    Raises ValueError if a field is out of range.
    """

    objective: Objective = "l2"
    optimizer: Optimizer = "gd"
    activation: Activation = "gelu"
    residual: bool = True
    p: float = 2.0
    toward: Toward = "zero"
    chunk: int = 1
    period: int = 1
    gradient: Gradient = "through"

    CHOICES: ClassVar[dict[str, object]] = {**MemoryRule.CHOICES, "activation": Activation}

    def resolve(self, read: Read) -> Read:
        """The plainest read that sees the same weights. Raises ValueError if there is no such read."""
        if read not in ("after", "before", "anchor"):
            raise ValueError(f"read must be 'after', 'before' or 'anchor', not {read!r}")
        return "before" if read == "anchor" and not self.keeps_anchor else read

    def require(self, key: Tensor, value: Tensor, retain: Tensor, momentum: Tensor | None) -> None:
        """Raises ValueError if a size does not fit, a factor is missing, or the rule has no place for it."""
        if self.residual and key.shape[-1] != value.shape[-1]:
            sizes = f"{key.shape[-1]} features with {value.shape[-1]}"
            raise ValueError(f"a residual memory cannot answer {sizes}")
        if retain.dim() == key.dim():
            raise ValueError("a two-layer memory has one retain per head, not per channel")
        self.require_momentum(momentum)


def initial_state(inner: Tensor, outer: Tensor, rule: DeepRule) -> State:
    """The state at the start of a context: inner [B, H, K, D], outer [B, H, D, V].

    "inner" and "outer", the weights, always. For each of the two: "anchor_" (at the start of the current
    chunk) if the rule keeps one, "momentum_" (S) with momentum, "start_" (W_0) if decay leads there. With a
    period, the sums over the unfinished one: "gradient_inner", "gradient_outer", "retain" [B, H],
    "momentum" [B, H] with momentum, "decay" [B, H, K, D] (along the key) with dgd. "position"
    [B], whole numbers, counts tokens modulo the chunk or the period, where there is one.
    """
    state = {"inner": inner, "outer": outer}
    if rule.has_momentum:
        state |= {"momentum_inner": zeros(inner), "momentum_outer": zeros(outer)}
    if rule.toward == "init":
        state |= {"start_inner": inner, "start_outer": outer}
    if rule.period > 1:
        state |= {"gradient_inner": zeros(inner), "gradient_outer": zeros(outer)}
        state["retain"] = zeros(inner[..., 0, 0])
        if rule.has_momentum:
            state["momentum"] = zeros(inner[..., 0, 0])
        if rule.decays_along_key:
            state["decay"] = zeros(inner)
    if rule.keeps_anchor:
        state |= {"anchor_inner": inner, "anchor_outer": outer}
    if rule.keeps_anchor or rule.period > 1:
        state["position"] = torch.zeros(inner.shape[0], dtype=torch.int64, device=inner.device)
    return state
