"""Memories of matrices that learn from the same keys at the same steps, as one: values are columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from nestdsl.runtime.kinds.matrix import Matrix
from nestdsl.runtime.kinds.weights import per_head
from nestdsl.runtime.ops.linear_memory import Running, State, Trajectory, initial_state


class SideBySide(nn.Module):
    """Several `Matrix` memories under one rule, whose key, step, retain and momentum are the same.

    What a token writes, k wᵀ, differs between them in w only, which is known from k and each one's own value:
    so one state [B, heads, key size, sum of value sizes] of a head is all of theirs, and one factorisation
    serves all. The memories keep their weights; this module has none. `member` is the place of
    a memory among them.
    """

    def __init__(self, *memories: Matrix) -> None:
        super().__init__()
        self.memories = tuple(memories)  # not a list of modules: their weights belong to the block
        self.sizes = [memory.shape[-1] for memory in memories]
        self.starts = [sum(self.sizes[:number]) for number in range(len(memories))]
        self.heads = memories[0].heads
        chunks = [memory.rule.chunk for memory in memories]
        self.rule = replace(memories[0].rule, chunk=max(chunks, key=lambda chunk: chunk or 0))
        self.read_mode = memories[0].read_mode
        self.block = memories[0].block

    def init_state(
        self, batch: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> State:
        """The state at the start of a context, for `batch` rows."""
        return self._joined([memory.init_state(batch, device, dtype) for memory in self.memories])

    def _joined(self, states: list[State]) -> State:
        """One state for all, from the start of each memory."""
        kind = states[0]["matrix"].dtype
        for state in states[1:]:
            kind = torch.promote_types(kind, state["matrix"].dtype)
        return initial_state(torch.cat([state["matrix"].to(kind) for state in states], -1), self.rule)

    def forward(
        self,
        key: Tensor,
        values: tuple[Tensor, ...] | None = None,
        state: State | None = None,
        step: float | Tensor = 1.0,
        retain: float | Tensor = 1.0,
        momentum: float | Tensor = 0.9,
        *,
        member: int | None = None,
        aligned: bool = False,
        within: bool = False,
    ) -> Any:
        """Learns, or without values answers, as `Matrix.forward` does; member: as in `peek`."""
        if state is None:  # each memory makes its own start: no tokens are read
            state = self._joined([memory(key[:, :0])[1] for memory in self.memories])
        if values is None:
            return self.peek(state, key, member, aligned=aligned), state
        return self.learn(key, values, state, step, retain, momentum, aligned=aligned, within=within)

    def learn(
        self,
        key: Tensor,
        values: tuple[Tensor, ...],
        state: State,
        step: float | Tensor = 1.0,
        retain: float | Tensor = 1.0,
        momentum: float | Tensor = 0.9,
        *,
        aligned: bool = False,
        within: bool = False,
    ) -> tuple[Trajectory, State]:
        """Learn to answer key [B, T, key_size] with values, one [B, T, value_size] for each memory.

        All else as in `Matrix.learn`.
        """
        columns = torch.cat([value.unflatten(-1, (self.heads, -1)) for value in values], -1)
        first = self.memories[0]
        return first.learn_heads(
            key,
            columns,
            state,
            self.rule,
            step,
            retain,
            per_head(momentum, key, self.heads) if self.rule.has_momentum else None,
            aligned=aligned,
            within=within,
        )

    def read(self, trajectory: Trajectory, query: Tensor, member: int) -> Tensor:
        """What one memory answers to query [B, T, key_size], token by token: [B, T, value_size]."""
        start, size = self.starts[member], self.sizes[member]
        running, held = trajectory.running, trajectory.held
        if held is not None:
            held = held.narrow(-1, start, size)
        if running is not None:
            running = _narrowed(running, start, size)
        own = trajectory._replace(running=running, held=held)
        return self.memories[member].read_heads(own, query, self.rule)

    def peek(
        self, state: State, query: Tensor, member: int | None = None, *, aligned: bool = False
    ) -> Tensor:
        """What the memories answered at the start of the chunk: query [B, T, key_size] ->
        [B, T, heads, sum of value sizes], for `columns`; or what one of them did: [B, T, value_size]."""
        matrix = state["matrix" if aligned or "anchor" not in state else "anchor"]
        if member is not None:
            matrix = matrix.narrow(-1, self.starts[member], self.sizes[member])
        queries = query.unflatten(-1, (self.heads, -1)).to(matrix.dtype)
        with torch.autocast(query.device.type, enabled=False):
            answers = torch.einsum("bthk,bhkv->bthv", queries, matrix).to(query.dtype)
        return answers if member is None else answers.flatten(-2)

    def columns(self, answers: Tensor, member: int) -> Tensor:
        """The answer of one memory [B, T, value_size], of those of all, as `peek` gives them."""
        return answers.narrow(-1, self.starts[member], self.sizes[member]).flatten(-2)


def _narrowed(running: Running, start: int, size: int) -> Running:
    """The trajectory of some of the columns."""

    def own(part: Tensor | None) -> Tensor | None:
        return None if part is None else part.narrow(-1, start, size)

    tracks = tuple(
        track._replace(errors=own(track.errors), starts=track.starts.narrow(-1, start, size))
        for track in running.tracks
    )
    return running._replace(tracks=tracks, origin=own(running.origin))
