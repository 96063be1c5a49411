"""What a body of the plan becomes: a module whose state is an argument and a result, never hidden."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nestdsl.runtime.compile_regions import INPUT
from nestdsl.runtime.interpreter import Frame
from nestdsl.runtime.program import Program
from nestdsl.runtime.run import PLAIN, Run
from nestdsl.runtime.state import POSITION, Path, State

Pass = tuple[Tensor, State]


class Block(nn.Module):
    """One body of a plan: its levels and blocks are submodules, under the names that they have in the plan.

    `block(x, state)` maps x [batch, tokens, size] (ids: [batch, tokens]) and the state before it to
    [batch, tokens, size] and the state after it. Without a state it begins a context: every level then makes
    its start inside of its own `forward`.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def forward(self, x: Tensor, state: State | None = None) -> Pass:
        return self.run_by(PLAIN, x, state)

    def run_by(self, run: Run, x: Tensor, state: State | None) -> Pass:
        """The same, with its regions run as `run` says."""
        frame = Frame(self, self.program, {INPUT: x}, state or {}, run)
        for region in self.program.regions:
            (run.loop if region.is_loop else run.region)(frame, region)
        return frame.values[self.program.output], {name: frame.following[name] for name in self.program.kept}

    def _get_name(self) -> str:
        return "".join(part.capitalize() for part in self.program.name.split("_"))

    def initial(self, batch: int, device: torch.device, dtype: torch.dtype) -> State:
        """The state at the start of a context, for `batch` sequences."""
        state: State = {
            name: getattr(self, name).init_state(batch, device=device, dtype=dtype)
            for name in self.program.stateful
        }
        if self.program.chunk_tokens:
            state[POSITION] = torch.zeros(batch, dtype=torch.int64, device=device)
        for name in self.program.blocks:
            part = getattr(self, name)
            if isinstance(part, nn.ModuleList):
                state[name] = [copy.initial(batch, device, dtype) for copy in blocks_of(part)]
            else:
                state[name] = part.initial(batch, device, dtype)
        return state


def blocks_of(part: nn.Module) -> list[Block]:
    """A block alone, or the copies in a list."""
    return list(part) if isinstance(part, nn.ModuleList) else [part]  # type: ignore[list-item,arg-type]


def blocks_within(block: Block, path: Path = ()) -> Iterator[tuple[Path, Block]]:
    """The blocks that stand directly in a block, and where their states stand in that of the model."""
    for name in block.program.blocks:
        part = getattr(block, name)
        for number, copy in enumerate(blocks_of(part)):
            yield ((*path, name, number) if isinstance(part, nn.ModuleList) else (*path, name)), copy
