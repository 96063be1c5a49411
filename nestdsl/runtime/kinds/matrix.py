"""`matrix`: one matrix for each head, from keys to values; learned in context, or by the outer levels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from nestdsl.runtime.kinds.weights import Start, initialize, normal, per_head, require_division
from nestdsl.runtime.ops.linear_memory import (
    BLOCK,
    Gradient,
    LinearRule,
    Objective,
    Optimizer,
    Read,
    State,
    Toward,
    Trajectory,
    fla,
    initial_state,
    learn,
    read,
)
from nestdsl.vocabulary.starts import MEMORY_DEVIATION


class Matrix(nn.Module):
    """A memory of one matrix per head that learns keys and values while a sequence is read.

    objective, optimizer, period, chunk, gradient, toward, forget_first and p (of "lp") as in `LinearRule`;
    `read` is where its reads look: "after" a token has written, "before" it, or at the "anchor", the start of
    the token's chunk. With the optimizer "gd" and the objectives "l2" and "dot", `chunk` says for other reads
    only how many tokens to work on at once. anchored: the state at each chunk's start is kept, for `peek`.

    init: a start that is trained makes the parameter `weight` [heads, key_size / heads, value_size / heads],
    which the outer levels train; "learned" is normal with `MEMORY_DEVIATION`. One that is not is a buffer,
    which is saved and never trained; "zeros" and "identity" then have neither. "identity" needs sizes that
    are equal.

    Raises ValueError if `heads` does not divide the sizes, or an option is none of the choices.
    """

    kind = "matrix"

    def __init__(
        self,
        key_size: int,
        value_size: int,
        *,
        heads: int = 1,
        objective: Objective = "l2",
        read: Read = "after",
        period: int = 1,
        chunk: int = 1,
        init: Start | str = "learned",
        gradient: Gradient = "through",
        optimizer: Optimizer = "gd",
        toward: Toward = "zero",
        p: float = 2.0,
        forget_first: bool = False,
        anchored: bool = False,
    ) -> None:
        super().__init__()
        require_division(key_size, heads)
        require_division(value_size, heads)
        self.heads = heads
        self.shape = (heads, key_size // heads, value_size // heads)
        self.read_mode: Read = read
        rule = LinearRule(objective, period, chunk, gradient, optimizer, toward, p, forget_first)
        rule.resolve(read)
        # What looks at no chunk's start need not carry it.
        self.rule = rule if read == "anchor" or rule.is_stale or anchored else replace(rule, chunk=None)
        self.block = chunk if 16 <= chunk <= 128 and chunk % 16 == 0 else BLOCK
        self._begin(Start.of(init))
        self.by_fla = False  # `use_kernels` says otherwise

    def _begin(self, start: Start) -> None:
        """Makes the weight."""
        self.weight: Tensor | None
        weight = torch.empty(self.shape)
        if start.draws:
            initialize(weight, start, normal(MEMORY_DEVIATION))
        self.starts_as_identity = start.word == "identity"
        if start.is_trained:
            self.weight = nn.Parameter(weight)
        elif start.word in ("zeros", "identity"):
            self.register_parameter("weight", None)
        else:
            self.register_buffer("weight", weight)

    def init_state(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state at the start of a context, for `batch` rows; differentiable with respect to `weight`.

        The state is in `dtype` (default: the weight's), and at least in float32.
        """
        if self.weight is None:
            kind = torch.promote_types(dtype or torch.get_default_dtype(), torch.float32)
            start = torch.zeros(self.shape, device=device, dtype=kind)
            if self.starts_as_identity:
                start += torch.eye(self.shape[-1], device=device, dtype=kind)
            return initial_state(start.repeat(batch, 1, 1, 1), self.rule)
        kind = torch.promote_types(dtype or self.weight.dtype, torch.float32)
        weight = self.weight.to(device=device, dtype=kind, copy=True)  # a shard is whole in this call alone
        return initial_state(weight.expand(batch, *self.shape), self.rule)

    def use_kernels(self) -> bool:
        """From here on, calls of some length run by the kernels of flash-linear-attention, if those compute
        what this memory does; says whether they do. For memories on a GPU."""
        self.by_fla = fla.applies(self.rule, self.read_mode, self.shape[1])
        return self.by_fla

    def extra_repr(self) -> str:
        return "by the kernels of flash-linear-attention" if self.by_fla else ""

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
        at_start: bool = False,
    ) -> Any:
        """Learns to answer key [B, T, key_size] with value [B, T, value_size], from a state or, without one,
        from the start of a context: gives what `read` needs, and the next state.

        Without a value the key is a query, and nothing is learned: gives the answer [B, T, value_size] of the
        state at the start of the chunk (`peek`), and that state; or, `at_start`, the answer of the start of
        the context alone.
        """
        if at_start:
            return self.start(key)
        if state is None:
            state = self.init_state(key.shape[0], key.device, key.dtype if self.weight is None else None)
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
    ) -> tuple[Trajectory | fla.Written, State]:
        """Learn to answer key [B, T, key_size] with value [B, T, value_size].

        step, retain and momentum (which only the optimizers with momentum look at): a number, or
        [B, T, heads] or [B, T, 1]; retain also [B, T, key_size], one value per key channel, with gd or dgd,
        l2 or dot, and period 1 (with both dgd and l2, chunk 1). aligned: the caller's word that the call
        begins where a chunk or a period does; within: that it does not go beyond the chunk it begins in.
        Returns what `read` needs, and the next state. Raises ValueError for a retain per channel elsewhere.
        """
        momenta = per_head(momentum, key, self.heads) if self.rule.has_momentum else None
        values = value.unflatten(-1, (self.heads, -1))
        if self.by_fla and key.shape[1] >= fla.FEWEST_TOKENS:
            keys, steps = key.unflatten(-1, (self.heads, -1)), per_head(step, key, self.heads)
            retains = self._retains(retain, key)
            if retains.dim() == 3:  # their kernels have one for each head
                return fla.learn(keys, values, steps, retains, state, self.rule)
        return self.learn_heads(
            key, values, state, self.rule, step, retain, momenta, aligned=aligned, within=within
        )

    def learn_heads(
        self,
        key: Tensor,
        values: Tensor,
        state: State,
        rule: LinearRule,
        step: float | Tensor,
        retain: float | Tensor,
        momentum: Tensor | None,
        *,
        aligned: bool,
        within: bool,
    ) -> tuple[Trajectory, State]:
        """The same for values [B, T, heads, any size] and a state of such columns."""
        return learn(
            key.unflatten(-1, (self.heads, -1)),
            values,
            per_head(step, key, self.heads),
            self._retains(retain, key),
            state,
            rule,
            momentum=momentum,
            aligned=aligned,
            within=within,
            block=self.block,
        )

    def _retains(self, retain: float | Tensor, key: Tensor) -> Tensor:
        """A retain as [B, T, heads], or as [B, T, heads, K] if it has one value per key channel."""
        if isinstance(retain, Tensor) and retain.shape[-1] not in (1, self.heads):
            return retain.unflatten(-1, (self.heads, -1))
        return per_head(retain, key, self.heads)

    def read(self, trajectory: Trajectory | fla.Written, query: Tensor) -> Tensor:
        """What the memory answers to query [B, T, key_size], token by token: [B, T, value_size]."""
        if isinstance(trajectory, fla.Written):
            return fla.read(trajectory, query.unflatten(-1, (self.heads, -1))).flatten(-2)
        return self.read_heads(trajectory, query, self.rule)

    def read_heads(self, trajectory: Trajectory, query: Tensor, rule: LinearRule) -> Tensor:
        """The same for a trajectory under another memory's rule, that differs in what it keeps."""
        return read(trajectory, query.unflatten(-1, (self.heads, -1)), self.read_mode, rule).flatten(-2)

    def start(self, query: Tensor) -> Tensor:
        """What the memory answers at the start of the context: query [B, T, key_size] ->
        [B, T, value_size]. Differentiable with respect to `weight`; the memory must have one, or start as
        the identity."""
        if self.weight is None:
            assert self.starts_as_identity
            return query
        kind = torch.promote_types(query.dtype, torch.float32)
        queries = query.unflatten(-1, (self.heads, -1)).to(kind)
        with torch.autocast(query.device.type, enabled=False):
            return torch.einsum("bthk,hkv->bthv", queries, self.weight.to(kind)).flatten(-2).to(query.dtype)

    def peek(self, state: State, query: Tensor, *, aligned: bool = False) -> Tensor:
        """What the memory answered at the start of the chunk in which a call begins that does not go beyond
        it: query [B, T, key_size] -> [B, T, value_size]. For memories that are `anchored`: on what they
        answer, their own next state may depend [Nested Learning, Eq. 90]. aligned: the caller's word that the
        call begins with the chunk.
        """
        matrix = state["matrix" if aligned or "anchor" not in state else "anchor"]
        queries = query.unflatten(-1, (self.heads, -1)).to(matrix.dtype)
        with torch.autocast(query.device.type, enabled=False):
            return torch.einsum("bthk,bhkv->bthv", queries, matrix).flatten(-2).to(query.dtype)


class BlockLinear(nn.Module):
    """A matrix per head without an objective of its own: y_h = M_h x_h, weights that the outer levels train.

    [batch, tokens, input_size] → [batch, tokens, output_size]; `weight` [heads, input_size / heads,
    output_size / heads]. init learned: normal with deviation 1 / sqrt(input_size / heads), so that
    features of deviation 1 stay so. Raises ValueError if `heads` does not divide the sizes.
    """

    kind = "matrix"
    keeps_precision = True

    def __init__(
        self,
        input_size: int,
        output_size: int,
        *,
        heads: int = 1,
        init: Start | str = "learned",
    ) -> None:
        super().__init__()
        require_division(input_size, heads)
        require_division(output_size, heads)
        self.heads = heads
        self.weight = nn.Parameter(torch.empty(heads, input_size // heads, output_size // heads))
        initialize(self.weight, Start.of(init), normal((input_size // heads) ** -0.5))

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unflatten(-1, (self.heads, -1))
        return torch.einsum("bthk,hkv->bthv", parts, self.weight.to(x.dtype)).flatten(-2)
