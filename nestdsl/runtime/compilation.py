"""Compiles the bodies of a model, or their parts: once for each class, used by all of its copies."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any

import torch
import torch.fx

from nestdsl.runtime.block import Block, CompiledRun, OneToken, Run, blocks_of
from nestdsl.runtime.compile_cache import cache_is_written, use_compile_cache
from nestdsl.runtime.compile_progress import unit_runs
from nestdsl.runtime.cpp_compiler import compiler_fault
from nestdsl.runtime.kinds.attention import Attention

_RECOMPILE_LIMIT = 64
"""How many shapes and modes one unit may be compiled for before that is an error."""

_CACHE_TAG = "nestdsl: saved tensors stay as they are"
"""Sets what is compiled here apart from what older versions left in torch's cache on disk."""


def compiled_run(root: Block) -> CompiledRun:
    """A run that compiles the largest pieces without repeats in them, each as one graph.

    A body with repeats is not unrolled: its copies are the units, and what stands around them, so
    that the cost of compiling does not grow with the depth. Where something runs chunk by chunk,
    one chunk is a unit.
    """
    return CompiledRun(
        {(unit, name): _compile(unit, name, Run()) for unit, name in _units([root])},
        {unit: _compile(unit, "body", OneToken(), guards=_own_guards) for unit in _steps([root])},
        len(_separate([root])),
    )


def _units(blocks: Iterable[Block]) -> set[tuple[type[Block], str]]:
    units: set[tuple[type[Block], str]] = set()
    for block in blocks:
        units |= {(type(block), name) for name in block.units}
        if "body" not in block.units:
            units |= _units(_parts(block))
    return units


def _separate(blocks: Iterable[Block]) -> set[tuple[type[Block], str]]:
    """Those units that do not stand inside of another."""
    units: set[tuple[type[Block], str]] = set()
    for block in blocks:
        units |= {(type(block), name) for name in block.units}
        if "body" not in block.units:
            inside = {part for name in block.units for part in block.parts[name]}
            apart = (getattr(block, name) for name in block.blocks if name not in inside)
            units |= _separate(copy for part in apart for copy in blocks_of(part))
    return units


def _steps(blocks: Iterable[Block]) -> set[type[Block]]:
    """The largest bodies in pieces that can run as one graph where there is one token."""
    steps: set[type[Block]] = set()
    for block in blocks:
        if "body" not in block.units:
            steps |= {type(block)} if _is_step(block) else _steps(_parts(block))
    return steps


def _is_step(block: Block) -> bool:
    """Whether nothing in it follows one another, nor grows with the tokens."""
    if any(isinstance(getattr(block, name), Attention) for name in block.stateful):
        return False
    parts = [getattr(block, name) for name in block.blocks]
    return all(isinstance(part, Block) and _is_step(part) for part in parts)


def _parts(block: Block) -> Iterable[Block]:
    for name in block.blocks:
        yield from blocks_of(getattr(block, name))


def _compile(
    unit: type[Block], name: str, eager: Run, guards: Callable[[Sequence[Any]], list[bool]] | None = None
) -> Callable[..., Any]:
    method, shown = getattr(unit, name), _shown(unit, name, eager)

    def run(block: Block, *flows: Any, **known: bool) -> Any:
        return method(block, *flows, eager, **known)

    # What is compiled is found by its code: with one of its own, a unit looks at no other's graphs.
    own = FunctionType(run.__code__.replace(), run.__globals__, name, closure=run.__closure__)
    # Static shapes: with symbolic lengths inductor takes minutes where this takes seconds.
    options: dict[str, Any] | None = None if guards is None else {"guard_filter_fn": guards}
    compiled = torch.compile(own, fullgraph=True, dynamic=False, backend=_inductor, options=options)

    def call(block: Block, *flows: Any, **known: bool) -> Any:
        with (
            torch._dynamo.config.patch(recompile_limit=_RECOMPILE_LIMIT),
            warnings.catch_warnings(),
            unit_runs(shown),
            cache_is_written(),
        ):
            # Tracing looks at `.grad` of tensors that are not leaves, and at retired modules of torch.
            warnings.filterwarnings(
                "ignore", "The .grad attribute of a Tensor that is not a leaf", UserWarning
            )
            warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
            return compiled(block, *flows, **known)

    return call


def _shown(unit: type[Block], name: str, eager: Run) -> str:
    """A unit as readers know it: by its block, and its piece of that."""
    block = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", unit.__name__.removesuffix("Block")).lower()
    if isinstance(eager, OneToken):
        return f"{block}, for one token"
    return block if name == "body" else f"{block}, {name.replace('_', ' ')}"


def _own_guards(guards: Sequence[Any]) -> list[bool]:
    """All that looks at the block, its input, its state and torch's modes. Left out is what looks at the
    functions of modules, which stay: for one token it takes as long as a tenth of the arithmetic."""
    return [not guard.name.startswith(("G[", "dict(G[", "type(G[")) for guard in guards]


def _inductor(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
    use_compile_cache()  # threads may be others now
    from torch._dynamo import lookup_backend  # not before the folder is known

    with (
        # torch 2.13's backward works in place on tensors that its forward saved, although two of them may
        # be views of one: the gradients of keys came out wrong by half.
        torch._functorch.config.patch(donated_buffer=False),  # type: ignore[reportAttributeAccessIssue]
        torch.compiler.config.patch(cache_key_tag=_CACHE_TAG),  # type: ignore[reportAttributeAccessIssue]
    ):
        return lookup_backend("inductor")(graph, inputs)


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile can work here; warns and says why where it cannot.

    Raises NestError N0504 where what is compiled cannot be kept anywhere.
    """
    if device.type != "cpu":
        use_compile_cache()
        return True
    fault = compiler_fault()
    if fault:
        warnings.warn(fault, RuntimeWarning, stacklevel=3)
    return not fault
