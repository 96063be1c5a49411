"""`associative`: a residual two-layer memory for each head; learned in context, or by the outer levels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nestdsl.runtime.kinds.weights import Start, initialize, normal, per_head, require_division
from nestdsl.runtime.ops.deep_memory import (
    Activation,
    DeepRule,
    Objective,
    Optimizer,
    State,
    Toward,
    Trajectory,
    initial_state,
    learn,
    read,
)
from nestdsl.runtime.ops.deep_memory.pointwise import activate
from nestdsl.runtime.ops.linear_memory import Gradient, Read
from nestdsl.vocabulary.starts import MEMORY_DEVIATION


class _TwoLayers(nn.Module):
    """The weights of M(z) = z + W_1 σ(W_2 z) for each head: inner [heads, key_size / heads, hidden] is W_2ᵀ,
    outer [heads, hidden, value_size / heads] is W_1ᵀ; without the residual z if the sizes differ."""

    inner: Tensor
    outer: Tensor

    def __init__(
        self,
        key_size: int,
        value_size: int,
        heads: int,
        hidden: int | None,
        activation: Activation,
        start: Start,
        outer: Start,
        *,
        trained: bool,
    ) -> None:
        super().__init__()
        require_division(key_size, heads)
        require_division(value_size, heads)
        hidden = key_size // heads if hidden is None else hidden
        if hidden < 1:
            raise ValueError(f"hidden must be at least 1, not {hidden}")
        self.heads = heads
        self.activation: Activation = activation
        self.residual = key_size == value_size
        if start.word == "identity" and not self.residual:
            raise ValueError(f"init 'identity' needs equal sizes, not {key_size} and {value_size}")
        first = torch.empty(heads, key_size // heads, hidden)
        last = torch.empty(heads, hidden, value_size // heads)
        initialize(first, start.of_first(), normal((key_size // heads) ** -0.5))
        initialize(last, start.of_last(), outer)
        for name, weight in (("inner", first), ("outer", last)):
            if trained:
                self.register_parameter(name, nn.Parameter(weight))
            else:
                self.register_buffer(name, weight)


class Associative(_TwoLayers):
    """A two-layer memory per head that learns keys and values while a sequence is read.

    Nested Learning, Eq. 91: M(z) = z + W_1 σ(W_2 z), without the residual z if the sizes of key and value
    differ. objective, optimizer, p (of "lp"), period, chunk, toward, activation and gradient as in
    `DeepRule`; `read` is where
    its reads look: "after" a token has written, "before" it, or at the "anchor", the start of the token's
    chunk.
    hidden: the hidden size of one head; default key_size / heads.

    The start, inner = W_2ᵀ [heads, key_size / heads, hidden] and outer = W_1ᵀ [heads, hidden,
    value_size / heads]: parameters, if the outer levels train it, or else buffers, saved and never trained.
    With init "learned", inner is normal with deviation 1 / sqrt(key_size / heads) and outer with
    `MEMORY_DEVIATION`, so that the memory starts near the identity. "normal", "uniform" and "orthogonal" draw
    both alike. The others speak of outer, with inner as in learned: "scaled" scales it, "zeros" and
    "identity" make it zero: the memory starts as the identity and still can learn.

    Raises ValueError if `heads` does not divide the sizes, or an option is none of the choices.
    """

    kind = "associative"

    def __init__(
        self,
        key_size: int,
        value_size: int,
        *,
        heads: int = 1,
        hidden: int | None = None,
        activation: Activation = "gelu",
        objective: Objective = "l2",
        optimizer: Optimizer = "gd",
        read: Read = "after",
        period: int = 1,
        chunk: int = 1,
        init: Start | str = "learned",
        gradient: Gradient = "through",
        toward: Toward = "zero",
        p: float = 2.0,
    ) -> None:
        residual = key_size == value_size
        rule = DeepRule(objective, optimizer, activation, residual, p, toward, chunk, period, gradient)
        rule.resolve(read)
        start = Start.of(init)
        super().__init__(
            key_size,
            value_size,
            heads,
            hidden,
            activation,
            start,
            normal(MEMORY_DEVIATION),
            trained=start.is_trained,
        )
        self.rule = rule
        self.read_mode: Read = read

    def init_state(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state at the start of a context, for `batch` rows; differentiable with respect to the weights.

        The state is in `dtype` (default: the weights'), and at least in float32.
        """
        kind = torch.promote_types(dtype or self.inner.dtype, torch.float32)
        inner, outer = (
            weight.to(device=device, dtype=kind, copy=True).expand(batch, *weight.shape)
            for weight in (self.inner, self.outer)
        )
        return initial_state(inner, outer, self.rule)

    def forward(
        self,
        key: Tensor,
        value: Tensor | None = None,
        state: State | None = None,
        step: float | Tensor = 1.0,
        retain: float | Tensor = 1.0,
        momentum: float | Tensor = 0.9,
        *,
        aligned: bool = False,
        within: bool = False,
    ) -> Any:
        """Learns, or without a value answers, as `Matrix.forward` does."""
        state = self.init_state(key.shape[0], key.device) if state is None else state
        if value is None:
            return self.peek(state, key, aligned=aligned), state
        return self.learn(key, value, state, step, retain, momentum, aligned=aligned, within=within)

    def learn(
        self,
        key: Tensor,
        value: Tensor,
        state: State,
        step: float | Tensor = 1.0,
        retain: float | Tensor = 1.0,
        momentum: float | Tensor = 0.9,
        *,
        aligned: bool = False,
        within: bool = False,
    ) -> tuple[Trajectory, State]:
        """Learn to answer key [B, T, key_size] with value [B, T, value_size].

        step, retain and momentum (which only the optimizers with momentum look at): a number, or
        [B, T, heads] or [B, T, 1]. aligned: the caller's word that the call begins where a chunk or a period
        does; within: that it does not go beyond the chunk it begins in. Returns what `read` needs, and the
        next state.
        """
        keys, values = key.unflatten(-1, (self.heads, -1)), value.unflatten(-1, (self.heads, -1))
        steps, retains = per_head(step, key, self.heads), per_head(retain, key, self.heads)
        momenta = per_head(momentum, key, self.heads) if self.rule.has_momentum else None
        return learn(keys, values, steps, retains, momenta, state, self.rule, aligned=aligned, within=within)

    def read(self, trajectory: Trajectory, query: Tensor) -> Tensor:
        """What the memory answers to query [B, T, key_size], token by token: [B, T, value_size]."""
        return read(trajectory, query.unflatten(-1, (self.heads, -1)), self.read_mode, self.rule).flatten(-2)

    def peek(self, state: State, query: Tensor, *, aligned: bool = False) -> Tensor:
        """What the memory answered at the start of the chunk in which a call begins that does not go beyond
        it: query [B, T, key_size] -> [B, T, value_size]. On what it answers, its own next state may depend
        [Nested Learning, Eq. 90]. aligned: the caller's word that the call begins with the chunk.
        """
        anchor = "" if aligned or "anchor_inner" not in state else "anchor_"
        inner, outer = state[f"{anchor}inner"], state[f"{anchor}outer"]
        queries = query.unflatten(-1, (self.heads, -1)).to(inner.dtype)
        with torch.autocast(query.device.type, enabled=False):
            hidden = activate(torch.einsum("bthk,bhkd->bthd", queries, inner), self.activation)
            answers = torch.einsum("bthd,bhdv->bthv", hidden, outer)
        return (queries + answers if self.residual else answers).flatten(-2).to(query.dtype)


class AssociativeLayer(_TwoLayers):
    """Two layers per head without an objective of their own: y_h = x_h + W_1 σ(W_2 x_h), weights that the
    outer levels train; without the residual if the sizes differ.

    [batch, tokens, input_size] → [batch, tokens, output_size]; parameters inner [heads, input_size / heads,
    hidden] and outer [heads, hidden, output_size / heads]. Their starts are those of `Associative`, but
    without the residual a learned outer has deviation 1 / sqrt(hidden). Raises ValueError if `heads` does not
    divide the sizes, or an option is none of the choices.
    """

    kind = "associative"

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        heads: int = 1,
        hidden: int | None = None,
        activation: Activation = "gelu",
        init: Start | str = "learned",
    ) -> None:
        DeepRule(activation=activation)
        width = max(1, input_size // max(1, heads) if hidden is None else hidden)
        outer = normal(MEMORY_DEVIATION if input_size == output_size else width**-0.5)
        super().__init__(
            input_size, output_size, heads, hidden, activation, Start.of(init), outer, trained=True
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unflatten(-1, (self.heads, -1))
        hidden = activate(torch.einsum("bthk,hkd->bthd", parts, self.inner.to(x.dtype)), self.activation)
        out = torch.einsum("bthd,hdv->bthv", hidden, self.outer.to(x.dtype))
        return (parts + out if self.residual else out).flatten(-2)
