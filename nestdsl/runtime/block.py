"""What a body becomes: a module whose state is an argument and a result, never hidden."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from nestdsl.runtime.carried import settled

State = dict[str, Any]
"""What a body keeps for each sequence: a dict for each stateful level and block, a list for copies."""

Pass = tuple[Tensor, State]


class Block(nn.Module):
    """One body. Generated classes list what keeps state, and say in `body` what runs.

    `body(in_, state, run)` maps in_ [batch, tokens, size] (ids: [batch, tokens]) and a state to
    [batch, tokens, size] and the next state; `run` runs the blocks within it. A body in which
    copies follow one another, or something runs chunk by chunk, does the rest in `parts`: methods
    from several flows, the state that they need and `run` to several flows and the next state.
    """

    stateful: ClassVar[tuple[str, ...]] = ()
    carried: ClassVar[tuple[str, ...]] = ()
    """Those of them whose state goes on from one sequence of a stream to the next."""
    blocks: ClassVar[tuple[str, ...]] = ()
    parts: ClassVar[dict[str, tuple[str, ...]]] = {}
    """The state that each part needs: names of levels and blocks."""
    units: ClassVar[tuple[str, ...]] = ("body",)
    """The methods that can be compiled, each as one graph."""
    chunk_tokens: ClassVar[int] = 0
    """If not 0, a part runs on so many tokens at a time, counted from the start of the context."""
    cycle_tokens: ClassVar[int] = 0
    """After so many tokens all chunks of all memories in that part begin at once."""

    if TYPE_CHECKING:

        def body(self, in_: Tensor, state: State, run: Run) -> Pass: ...

    def precision_beside(self, flow: Tensor) -> torch.dtype:
        """That of numbers which stand beside a flow: its own, or beside ids that of the weights."""
        if flow.is_floating_point():
            return flow.dtype
        for weight in self.parameters():
            return weight.dtype
        return torch.get_default_dtype()

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
"""The key under which a body that runs in chunks keeps how many tokens of its cycle are read."""


class Run:
    """Runs blocks as they are."""

    def block(self, block: Block, x: Tensor, state: State) -> Pass:
        return block.body(x, state, self)

    def copies(self, copies: nn.ModuleList, x: Tensor, state: list[State]) -> tuple[Tensor, list[State]]:
        """The copies of a repeat, one after the other."""
        next_state: list[State] = []
        for copy, copy_state in zip(blocks_of(copies), state, strict=True):
            x, copy_next = self.block(copy, x, copy_state)
            next_state.append(copy_next)
        return x, next_state

    def part(self, block: Block, name: str, state: State, next_state: State, *flows: Any) -> tuple[Any, ...]:
        """Runs a part on whole flows; puts what it keeps into `next_state`."""
        own = {key: state[key] for key in block.parts[name]}
        made, following = getattr(block, name)(*flows, own, self)
        next_state.update(following)
        return made

    def loop(
        self, block: Block, name: str, state: State, next_state: State, *flows: Tensor
    ) -> tuple[Tensor, ...]:
        """Runs a part chunk by chunk; puts what it keeps into `next_state`."""
        own = self.begun({key: state[key] for key in block.parts[name]})
        position, made = state[POSITION], []
        for chunk in _chunks(flows, block.chunk_tokens, position % block.chunk_tokens):
            found, following = self.chunk(block, name, chunk, own, aligned=position == 0)
            own |= following
            made.append(found)
            position = (position + chunk[0].shape[1]) % block.cycle_tokens
        next_state.update(own)
        next_state[POSITION] = position
        return tuple(torch.cat(parts, dim=1) for parts in zip(*made, strict=True))

    def begun(self, state: State) -> State:
        """The state with which a loop begins."""
        return state

    def chunk(
        self, block: Block, name: str, flows: tuple[Tensor, ...], state: State, *, aligned: bool
    ) -> tuple[tuple[Tensor, ...], State]:
        """Runs a part on the tokens of one chunk, or some of them; aligned: a cycle begins with them."""
        return getattr(block, name)(*flows, state, self, aligned)


class OneToken(Run):
    """Runs bodies on one token, in which nothing depends on where in a chunk it stands but the memories'
    own states: for passes that read token by token. States are those of `without_positions`."""

    def loop(
        self, block: Block, name: str, state: State, next_state: State, *flows: Tensor
    ) -> tuple[Tensor, ...]:
        own = {key: state[key] for key in block.parts[name]}
        made, following = self.chunk(block, name, flows, own, aligned=False)
        next_state.update(own | following)
        return made


def without_positions(state: Any) -> Any:
    """A state with its tensors only, as a graph takes it: to one that says in Python where a loop stands,
    each position would be a graph of its own."""
    match state:
        case dict():
            return {key: without_positions(part) for key, part in state.items() if type(part) is not int}
        case list():
            return [without_positions(part) for part in state]
        case _:
            return state


def with_positions(block: Block, following: State, state: State) -> State:
    """The state that follows `state` after one token, where the loops stand included."""
    if block.chunk_tokens:
        following[POSITION] = (state[POSITION] + 1) % block.cycle_tokens
    for name in block.blocks:
        part = getattr(block, name)
        if isinstance(part, nn.ModuleList):
            for copy, one, before in zip(blocks_of(part), following[name], state[name], strict=True):
                with_positions(copy, one, before)
        else:
            with_positions(part, following[name], state[name])
    return following


def _chunks(flows: tuple[Tensor, ...], chunk: int, position: int) -> Iterator[tuple[Tensor, ...]]:
    """Flows [batch, tokens, ...] in chunks, the first of which begins at `position` of one.

    Whole chunks are laid out one after the other in memory: so they look the same whatever the
    number of tokens, and what is compiled for one serves all.
    """
    tokens = flows[0].shape[1]
    first = min(tokens, -position % chunk)
    count, rest = divmod(tokens - first, chunk)
    sizes = [size for size in (first, count * chunk, rest) if size]
    pieces = list(zip(*(flow.split(sizes, dim=1) for flow in flows), strict=True))
    if first:
        yield pieces.pop(0)
    if count:
        whole = (flow.unflatten(1, (count, chunk)).transpose(0, 1).contiguous() for flow in pieces.pop(0))
        yield from zip(*(flow.unbind(0) for flow in whole), strict=True)
    yield from pieces


class CompiledRun(Run):
    """Runs what it has compiled, methods of the classes of blocks, and all else as it is."""

    def __init__(
        self,
        compiled: Mapping[tuple[type, str], Callable[..., Any]],
        steps: Mapping[type, Callable[..., Any]] = MappingProxyType({}),
        unit_count: int = 0,
    ) -> None:
        self.compiled = dict(compiled)
        self.unit_count = unit_count
        """How many of them run by themselves: the others stand inside of those."""
        self.steps = dict(steps)
        """Of bodies that are compiled in pieces: each as a whole, for one token and no gradient."""

    def block(self, block: Block, x: Tensor, state: State) -> Pass:
        unit = self.compiled.get((type(block), "body"))
        if unit is not None:
            return unit(block, x, state)
        step = self.steps.get(type(block))
        if step is not None and x.shape[1] == 1 and not torch.is_grad_enabled():
            y, following = step(block, x, without_positions(state))
            return y, with_positions(block, following, state)
        return super().block(block, x, state)

    def part(self, block: Block, name: str, state: State, next_state: State, *flows: Any) -> tuple[Any, ...]:
        unit = self.compiled.get((type(block), name))
        if unit is None:
            return super().part(block, name, state, next_state, *flows)
        made, following = unit(block, *flows, {key: state[key] for key in block.parts[name]})
        next_state.update(following)
        return made

    def begun(self, state: State) -> State:
        """The same state, that looks as it will after a chunk: else the first would be compiled apart."""
        return _like_made(state, "", set())

    def chunk(
        self, block: Block, name: str, flows: tuple[Tensor, ...], state: State, *, aligned: bool
    ) -> tuple[tuple[Tensor, ...], State]:
        unit = self.compiled.get((type(block), name))
        # Chunks that a pass begins or ends with can have any length, for each of which to compile.
        if unit is None or block.chunk_tokens % flows[0].shape[1]:
            return super().chunk(block, name, flows, state, aligned=aligned)
        return unit(block, *flows, settled(state), aligned=aligned)


def _like_made(part: Any, key: str, seen: set[int]) -> Any:
    """A state whose tensors lie in memory as computed ones do, each by itself, with a gradient where there
    are any. What retention leads back to ("start") is the same after a chunk.
    """
    if isinstance(part, dict):
        return {name: _like_made(inner, name, seen) for name, inner in part.items()}
    if not isinstance(part, Tensor) or not part.is_floating_point():
        return part
    part = part.contiguous()
    if torch.is_grad_enabled() and not part.requires_grad and not key.startswith("start"):
        return part.detach().requires_grad_()
    if id(part) in seen:
        return part.view_as(part)
    seen.add(id(part))
    return part
