"""Compiles the bodies of a model: one compilation for each class, used by all of its copies."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from nestdsl.runtime.block import Block, CompiledRun, Pass, Run, State, blocks_of

_RECOMPILE_LIMIT = 64
"""How many shapes and modes one body may be compiled for before that is an error."""


def compiled_run(root: Block) -> CompiledRun:
    """A run that compiles the largest bodies without repeats in them, each as one graph.

    A body with repeats is not unrolled: its copies are the units, so that the cost of compiling
    does not grow with the depth.
    """
    return CompiledRun({unit: _compile(unit) for unit in _units([root])})


def _units(blocks: Iterable[Block]) -> set[type[Block]]:
    units: set[type[Block]] = set()
    for block in blocks:
        if any(_is_loop(part) for part in block.modules() if part is not block):
            units |= _units(_parts(block))
        else:
            units.add(type(block))
    return units


def _is_loop(part: nn.Module) -> bool:
    """Copies one after the other, or a body that runs chunk by chunk."""
    return isinstance(part, nn.ModuleList) or (isinstance(part, Block) and part.chunk_tokens > 0)


def _parts(block: Block) -> Iterable[Block]:
    for name in block.blocks:
        yield from blocks_of(getattr(block, name))


def _compile(unit: type[Block]) -> Callable[[Block, Tensor, State], Pass]:
    body, eager = unit.body, Run()

    def run(block: Block, x: Tensor, state: State) -> Pass:
        return body(block, x, state, eager)

    # Static shapes: with symbolic lengths inductor takes minutes where this takes seconds.
    compiled = torch.compile(run, fullgraph=True, dynamic=False)

    def call(block: Block, x: Tensor, state: State) -> Pass:
        with torch._dynamo.config.patch(recompile_limit=_RECOMPILE_LIMIT), warnings.catch_warnings():
            # Tracing looks at `.grad` of tensors that are not leaves, and at retired modules of torch.
            warnings.filterwarnings(
                "ignore", "The .grad attribute of a Tensor that is not a leaf", UserWarning
            )
            warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
            return compiled(block, x, state)

    return call


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile can work here; warns and says why where it cannot."""
    if device.type != "cpu":
        return True
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        warnings.warn(
            "no C++ compiler is installed, which torch.compile needs on a CPU: the model runs uncompiled "
            "and slower; install g++ or clang, or ask for `compile=False` (`--eager`)",
            RuntimeWarning,
            stacklevel=3,
        )
        return False
    return True
