"""What a body becomes: a module whose state is an argument and a result, never hidden."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

State = dict[str, Any]
"""What a body keeps for each sequence: a dict for each stateful level and block, a list for copies."""

Pass = tuple[Tensor, State]


class Block(nn.Module):
    """One body. Generated classes list what keeps state, and say in `body` what runs.

    `body(in_, state, run)` maps in_ [batch, tokens, size] (ids: [batch, tokens]) and a state to
    [batch, tokens, size] and the next state; `run` runs the blocks within it.
    """

    stateful: ClassVar[tuple[str, ...]] = ()
    blocks: ClassVar[tuple[str, ...]] = ()
    chunk_tokens: ClassVar[int] = 0
    """If not 0, the body runs on so many tokens at a time, counted from the start of the context."""

    if TYPE_CHECKING:

        def body(self, in_: Tensor, state: State, run: Run) -> Pass: ...

    def initial(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        """The state at the start of a context, for `batch` sequences."""
        state: State = {
            name: getattr(self, name).init_state(batch, device=device, dtype=dtype) for name in self.stateful
        }
        if self.chunk_tokens:
            state[POSITION] = 0
        for name in self.blocks:
            block = getattr(self, name)
            if isinstance(block, nn.ModuleList):
                state[name] = [part.initial(batch, device, dtype) for part in blocks_of(block)]
            else:
                state[name] = block.initial(batch, device, dtype)
        return state


def blocks_of(part: Block | nn.ModuleList) -> list[Block]:
    """A block alone, or the copies in a list."""
    if isinstance(part, Block):
        return [part]
    copies = list(part)
    assert all(isinstance(copy, Block) for copy in copies)
    return copies  # type: ignore[return-value]  # just asserted


POSITION = "position"
"""The key under which a body that runs in chunks keeps how many tokens of its chunk are read."""


class Run:
    """Runs blocks as they are."""

    def block(self, block: Block, x: Tensor, state: State) -> Pass:
        """Runs a block, chunk by chunk if it says so."""
        if not block.chunk_tokens:
            return self.body(block, x, state)
        state = {**state}
        position = state.pop(POSITION)
        first = min(x.shape[1], block.chunk_tokens - position)
        outputs: list[Tensor] = []
        for part in (x[:, :first], *x[:, first:].split(block.chunk_tokens, 1)):
            if part.shape[1]:
                y, state = self.body(block, part, state)
                outputs.append(y)
        state[POSITION] = (position + x.shape[1]) % block.chunk_tokens
        return torch.cat(outputs, dim=1), state

    def body(self, block: Block, x: Tensor, state: State) -> Pass:
        return block.body(x, state, self)

    def copies(self, copies: nn.ModuleList, x: Tensor, state: list[State]) -> tuple[Tensor, list[State]]:
        """The copies of a repeat, one after the other."""
        next_state: list[State] = []
        for copy, copy_state in zip(blocks_of(copies), state, strict=True):
            x, copy_next = self.block(copy, x, copy_state)
            next_state.append(copy_next)
        return x, next_state


class CompiledRun(Run):
    """Runs the classes that it has compiled, and all other blocks as they are."""

    def __init__(self, compiled: Mapping[type, Callable[[Block, Tensor, State], Pass]]) -> None:
        self.compiled = dict(compiled)

    def body(self, block: Block, x: Tensor, state: State) -> Pass:
        unit = self.compiled.get(type(block))
        return block.body(x, state, self) if unit is None else unit(block, x, state)
