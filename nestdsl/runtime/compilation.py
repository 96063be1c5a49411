"""What is compiled of a model, and when that runs: a policy outside of the modules, which run without it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FunctionType, MappingProxyType
from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from nestdsl.runtime.block import Block, blocks_within
from nestdsl.runtime.compile_cache import cache_is_written, use_compile_cache
from nestdsl.runtime.compile_progress import unit_runs
from nestdsl.runtime.compile_regions import Region
from nestdsl.runtime.cpp_compiler import compiler_fault
from nestdsl.runtime.interpreter import Frame
from nestdsl.runtime.kinds.attention import Attention
from nestdsl.runtime.program import Program
from nestdsl.runtime.run import PLAIN, Run, run_region
from nestdsl.runtime.state import State, settled

_RECOMPILE_LIMIT = 64
"""How many shapes and modes one unit may be compiled for before that is an error."""

_CACHE_TAG = "nestdsl: saved tensors stay as they are"
"""Sets what is compiled here apart from what older versions left in torch's cache on disk."""

Unit = Callable[..., Any]
Units = dict[Program, dict[str, Unit]]
WHOLE = "body"
"""Among the units of a program, that which is all of it."""


class CompiledRun(Run):
    """Runs what it has compiled, and all else as it is.

    units: of each program, all of it as `WHOLE`, or its regions by their names. steps: those of programs in
    several regions, as a whole, for one token and no gradient.
    """

    def __init__(
        self,
        units: Units,
        steps: Mapping[Program, Unit] = MappingProxyType({}),
        unit_count: int = 0,
    ) -> None:
        self.units = units
        self.unit_count = unit_count  # the others stand inside of those
        self.steps = dict(steps)

    def block(self, block: nn.Module, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        if not isinstance(block, Block) or state is None:
            return super().block(block, x, state)
        unit = self.units.get(block.program, {}).get(WHOLE)
        if unit is not None:
            return unit(block, x, state)
        step = self.steps.get(block.program)
        if step is not None and x.shape[1] == 1 and not torch.is_grad_enabled():
            return step(block, x, state)
        return block.run_by(self, x, state)

    def region(self, frame: Frame, region: Region) -> None:
        unit = self.units.get(frame.program, {}).get(region.name)
        if unit is None:
            super().region(frame, region)
            return
        flows = [frame.values[name] for name in region.takes]
        made, following = unit(frame.module, flows, {name: frame.state[name] for name in region.stateful})
        frame.values.update(zip(region.gives, made, strict=True))
        frame.following.update(following)

    def loop_state(self, state: State) -> State:
        """The same state, that looks as it will after a chunk: else the first would be compiled apart."""
        return _like_made(state, "", set())

    def chunk(
        self,
        module: nn.Module,
        program: Program,
        region: Region,
        flows: Sequence[Tensor],
        state: State,
        *,
        aligned: bool,
    ) -> tuple[tuple[Tensor, ...], State]:
        unit = self.units.get(program, {}).get(region.name)
        # Chunks that a pass begins or ends with can have any length, for each of which to compile.
        if unit is None or program.chunk_tokens % flows[0].shape[1]:
            return super().chunk(module, program, region, flows, state, aligned=aligned)
        return unit(module, flows, settled(state), aligned=aligned)


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


def compiled_run(root: Block) -> CompiledRun:
    """A run that compiles the largest parts without repeats in them, each as one graph.

    A body with repeats is not unrolled: its copies are the units, and what stands around them, so
    that the cost of compiling does not grow with the depth. Where something runs chunk by chunk,
    one chunk is a unit.
    """
    units: Units = {}
    for program, region in _units([root]):
        name = WHOLE if region is None else region.name
        units.setdefault(program, {})[name] = _compiled(program, region)
    steps = {program: _compiled(program, None, for_one_token=True) for program in _steps([root])}
    return CompiledRun(units, steps, len(_separate([root])))


def _units(blocks: Iterable[Block]) -> set[tuple[Program, Region | None]]:
    """The programs and their regions that are compiled; no region is all of a program."""
    units: set[tuple[Program, Region | None]] = set()
    for block in blocks:
        if block.program.is_one_graph:
            units.add((block.program, None))
        else:
            units |= {(block.program, region) for region in block.program.regions if region.is_unit}
            units |= _units(copy for _, copy in blocks_within(block))
    return units


def _separate(blocks: Iterable[Block]) -> set[tuple[Program, str]]:
    """Those units that do not stand inside of another."""
    units: set[tuple[Program, str]] = set()
    for block in blocks:
        if block.program.is_one_graph:
            units.add((block.program, WHOLE))
            continue
        own = [region for region in block.program.regions if region.is_unit]
        units |= {(block.program, region.name) for region in own}
        inside = {part for region in own for part in region.stateful}
        units |= _separate(copy for path, copy in blocks_within(block) if path[0] not in inside)
    return units


def _steps(blocks: Iterable[Block]) -> set[Program]:
    """The largest programs in several regions that can run as one graph where there is one token."""
    steps: set[Program] = set()
    for block in blocks:
        if not block.program.is_one_graph:
            inner = _steps(copy for _, copy in blocks_within(block))
            steps |= {block.program} if _is_step(block) else inner
    return steps


def _is_step(block: Block) -> bool:
    """Whether nothing in it follows one another, nor grows with the tokens."""
    if any(isinstance(getattr(block, name), Attention) for name in block.program.stateful):
        return False
    within = list(blocks_within(block))
    return all(len(path) == 1 and _is_step(copy) for path, copy in within)


def _compiled(program: Program, region: Region | None, *, for_one_token: bool = False) -> Unit:
    """A region, or with None all of a program, as one graph."""

    def run_all(block: Block, x: Tensor, state: State) -> Any:
        return block.run_by(PLAIN, x, state)

    def run_one(block: Block, flows: Sequence[Tensor], state: State, **known: bool) -> Any:
        assert region is not None
        return run_region(block, program, region, flows, state, **known)

    run = run_all if region is None else run_one
    shown = _shown(program, region, for_one_token)
    # What is compiled is found by its code: with one of its own, a unit looks at no other's graphs.
    own = FunctionType(run.__code__.replace(), run.__globals__, shown, closure=run.__closure__)
    # Static shapes: with symbolic lengths inductor takes minutes where this takes seconds.
    options: dict[str, Any] = {"guard_filter_fn": _step_guards if for_one_token else _guards}
    compiled = torch.compile(own, fullgraph=True, dynamic=False, backend=_inductor, options=options)

    def call(block: Block, *given: Any, **known: bool) -> Any:
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
            return compiled(block, *given, **known)

    return call


def _shown(program: Program, region: Region | None, for_one_token: bool) -> str:
    """A unit as readers know it: by its block, and its part of that."""
    if for_one_token:
        return f"{program.name}, for one token"
    return program.name if region is None else f"{program.name}, {region.name.replace('_', ' ')}"


def _guards(guards: Sequence[Any]) -> list[bool]:
    """All but what looks at programs, which never change and of which each has units of its own."""
    return [".program" not in guard.name and "['program']" not in guard.name for guard in guards]


def _step_guards(guards: Sequence[Any]) -> list[bool]:
    """What looks at the block, its input, its state and torch's modes. Left out is also what looks at the
    functions of modules, which stay: for one token it takes as long as a tenth of the arithmetic."""
    return [
        kept and not guard.name.startswith(("G[", "dict(G[", "type(G["))
        for kept, guard in zip(_guards(guards), guards, strict=True)
    ]


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
