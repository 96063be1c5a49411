"""Moves all weights of a program at once and in place, as `naive.py` says of each one.

One graph does all that is done at one kind of update, for all sizes of weights, without a second
copy of large ones; small ones move in packs. At updates at which slow memories move, another
graph does that too.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from types import FunctionType
from typing import Any

import torch
import torch.fx
from torch import Tensor
from torch._dynamo import lookup_backend

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.graph.optimizer_timing import ALWAYS, timing
from nestdsl.runtime.optimizer.constants import Numbers, known_numbers
from nestdsl.runtime.optimizer.decay import split_decay
from nestdsl.runtime.optimizer.functions import as_matrices
from nestdsl.runtime.optimizer.lines import (
    KEEP,
    SCALE,
    Given,
    Steps,
    due_lines,
    is_elementwise,
    numbers,
    steps_of,
)
from nestdsl.runtime.optimizer.memories import initial_state
from nestdsl.runtime.optimizer.packs import Driven, packed

_RECOMPILE_LIMIT = 64
_COMPILED_UPDATES = 8
"""How many kinds of updates are all compiled; of more only the one at which no slow memory moves."""
_LONGEST_CYCLE = 1 << 12
"""Up to how many updates kinds of them are counted."""
_WORTH_COMPILING = 1 << 18
"""From how many elements on, in all, compiling is worth its seconds."""
_CHUNK = 1 << 17
"""How many elements move at a time where nothing is compiled: what is computed on the way stays small."""

_BUNDLES = (8, 2, 1)
"""How many large weights of one size a compiled graph moves; it compiles for each of these numbers."""

Parts = tuple[Tensor, Tensor, dict[str, Tensor]]
"""What moves side by side: weight, gradient, state."""

Parameters = Callable[[int], Numbers]
"""The parameters at an update, by its number."""


class FastOptimizer:
    """Carries out one program on `weights`; `compile` says whether as compiled graphs."""

    def __init__(self, program: OptimizerProgram, weights: Sequence[Tensor], *, compile: bool = True) -> None:
        self.program = program
        self._compile = compile and sum(weight.numel() for weight in weights) >= _WORTH_COMPILING
        self._running, self._decay = split_decay(program)
        self._is_elementwise = is_elementwise(program)
        self.driven, self._packs = packed(program, weights, is_elementwise=self._is_elementwise)
        in_packs = {id(one) for pack in self._packs for one in pack.members}
        self._single = [one for one in self.driven if id(one) not in in_packs]
        # The first size that is compiled says whether several threads are worth it.
        self._single.sort(key=lambda one: -one.weight.numel())
        self._updates: dict[frozenset[str], _Update] = {}

    @torch.no_grad()
    def step(self, parameters: Parameters, scale: float = 1.0) -> None:
        """One update of every weight that has a `.grad`, by it, times `scale`.

        parameters: of the update of a weight with that number (`constants.parameters_at`).
        """
        step = _Moment(self, parameters, scale)
        single = list(self._single)
        for pack in self._packs:
            if pack.gather():
                step.move(pack.members[0].step_count + 1, [(pack.weights, pack.gradients, pack.state)])
                pack.scatter()
            else:
                single += pack.members
        for bundle in self._bundles(single):
            step.move(bundle[0].step_count + 1, [self._parts(one) for one in bundle])
            for one in bundle:
                one.step_count += 1

    def _bundles(self, single: Sequence[Driven]) -> Iterator[list[Driven]]:
        """The weights that have a gradient, those together that one call moves: of one size and one age."""
        alike: dict[tuple[object, ...], list[Driven]] = {}
        for one in single:
            weight, gradient = one.weight, one.weight.grad
            if gradient is not None:
                is_flat = weight.is_contiguous() and gradient.is_contiguous()
                shape = weight.numel() if self._is_elementwise and is_flat else weight.shape
                key = (one.step_count, shape, weight.dtype, gradient.dtype, weight.device, is_flat)
                alike.setdefault(key, []).append(one)
        sizes = _BUNDLES if self._compile and self._is_elementwise else (1,)
        for group in alike.values():
            start = 0
            for size in sizes:
                while len(group) - start >= size:
                    yield group[start : start + size]
                    start += size

    def _parts(self, one: Driven) -> Parts:
        """A weight, its gradient and its state in the form in which they move."""
        weight, gradient, state = one.weight.detach(), one.weight.grad, one.state
        assert gradient is not None
        if not self._is_elementwise:
            state = {name: as_matrices(part) for name, part in state.items()}
            return as_matrices(weight), as_matrices(gradient), state
        if weight.is_contiguous() and gradient.is_contiguous():
            return weight.view(-1), gradient.view(-1), {name: part.view(-1) for name, part in state.items()}
        return weight, gradient, state

    def start_anew(self, one: Driven) -> None:
        """Forgets all that is remembered of a weight."""
        one.step_count = 0
        for name, tensor in initial_state(self.program, one.weight).items():
            one.state[name].copy_(tensor)

    def update_at(self, step_count: int) -> _Update:
        """What is done at an update."""
        due = due_lines(self._running, step_count)
        if due not in self._updates:
            # By the number of the update alone, so that a continued run computes what a whole one does.
            is_first = step_count == 1 and due not in self._kinds
            self._updates[due] = _Update(
                steps_of(self._running, due),
                compile=self._compile and not is_first and self._is_compiled(due),
                decays=self._decay is not None,
            )
        return self._updates[due]

    @cached_property
    def _kinds(self) -> frozenset[frozenset[str]]:
        """The kinds of updates after the first; none if there are too many to count."""
        cycle = math.lcm(*(memory.period for memory in self._running.memories))
        if cycle > _LONGEST_CYCLE:
            return frozenset()
        return frozenset(due_lines(self._running, step_count) for step_count in range(2, cycle + 2))

    def _is_compiled(self, due: frozenset[str]) -> bool:
        if 0 < len(self._kinds) <= _COMPILED_UPDATES:
            return True
        fast = {f"learn {memory.name}" for memory in self._running.memories if memory.period == 1}
        always = {name for name, changes in timing(self._running).changes.items() if changes == ALWAYS}
        return due <= fast | always

    def known_numbers(
        self, parameters: Numbers, step_count: int, extents: tuple[int, int], scale: float
    ) -> Numbers:
        """All numbers that an update takes from outside."""
        known = known_numbers(self._running, parameters, step_count, extents)
        known[SCALE[0]] = scale
        known[KEEP[0]] = 1 if self._decay is None else 1 + scale * known[self._decay]
        return known

    @property
    def is_elementwise(self) -> bool:
        return self._is_elementwise


class _Update:
    """One kind of update, compiled or operation by operation."""

    def __init__(self, steps: Steps, *, compile: bool, decays: bool) -> None:
        self.given = (*steps.given, KEEP, SCALE)
        self.is_compiled = compile
        run = _runner(steps, self.given, decays=decays)
        self.run = _compiled(run) if compile else run


class _Moment:
    """One call of `step`: what is known is computed once for all weights of like shape."""

    def __init__(self, optimizer: FastOptimizer, parameters: Parameters, scale: float) -> None:
        self._optimizer, self._parameters, self._scale = optimizer, parameters, scale
        self._updates: dict[int, _Update] = {}
        self._given: dict[tuple[object, ...], Tensor] = {}

    def move(self, step_count: int, bundle: list[Parts]) -> None:
        """Moves weights of one shape, of which this is update number `step_count`."""
        optimizer, weight = self._optimizer, bundle[0][0]
        update = self._updates.get(step_count)
        if update is None:
            update = self._updates[step_count] = optimizer.update_at(step_count)
        extents = (1, 1) if optimizer.is_elementwise else (weight.shape[-2], weight.shape[-1])
        kind = torch.promote_types(weight.dtype, torch.float32)
        key = (step_count, extents, kind)
        if key not in self._given:
            known = optimizer.known_numbers(self._parameters(step_count), step_count, extents, self._scale)
            self._given[key] = torch.tensor(numbers(update.given, known), dtype=kind)
        is_cut = optimizer.is_elementwise and not update.is_compiled and weight.ndim == 1
        for parts in [_pieces(one) for one in bundle] if is_cut else [bundle]:
            update.run(parts, self._given[key], kind)


def _pieces(parts: Parts) -> list[Parts]:
    """Parts of one dimension, cut so that what is computed on the way stays small."""
    weight, gradient, state = parts
    states = {name: part.split(_CHUNK) for name, part in state.items()}
    pieces = zip(weight.split(_CHUNK), gradient.split(_CHUNK), strict=True)
    return [
        (piece, its, {name: part[index] for name, part in states.items()})
        for index, (piece, its) in enumerate(pieces)
    ]


def _runner(steps: Steps, given: tuple[Given, ...], *, decays: bool) -> Callable[..., None]:
    """The update of a weight, or of several side by side, in place."""
    # Names for all that has one: numbers in a closure would be sizes that may change, as `dynamic` has it.
    given_names = tuple(f"given {name} {form}" for name, form in given)
    names = dict(zip(given, given_names, strict=True))
    lines = tuple(
        (step.function, tuple(_source(operand, names) for operand in step.operands), step.results)
        for step in steps.steps
    )
    reads, writes, update = steps.reads, steps.writes, steps.update
    keep, scale = names[KEEP], names[SCALE]

    def run(bundle: list[Parts], given: Tensor, kind: torch.dtype) -> None:
        given_values = dict(zip(given_names, given.unbind(), strict=True))
        for weight, gradient, state in bundle:
            one(weight, gradient, state, given_values, kind)

    def one(
        weight: Tensor,
        gradient: Tensor,
        state: dict[str, Tensor],
        given_values: dict[str, Tensor],
        kind: torch.dtype,
    ) -> None:
        values: dict[str, Any] = {"grad": gradient.to(kind), "weight": weight.to(kind), **given_values}
        for name in reads:
            values["@" + name] = state[name]
        for function, operands, results in lines:
            found = function(*[values[name] if name else number for name, number in operands])
            if len(results) == 1:
                values[results[0]] = found
            else:
                for name, part in zip(results, found, strict=True):
                    values[name] = part
        change = values[update] * values[scale]
        for name, result in writes:
            state[name].copy_(values[result])
        if decays:
            weight.copy_(values["weight"] * values[keep] + change)
        else:
            weight.add_(change)

    return run


def _source(operand: Any, names: dict[Any, str]) -> tuple[str, float]:
    """The name of an operand, or a number."""
    match operand:
        case tuple():
            return names[operand], 0.0
        case str():
            return operand, 0.0
        case _:
            return "", float(operand)


def _compiled(run: Callable[..., None]) -> Callable[..., None]:
    assert isinstance(run, FunctionType)
    # What is compiled is found by its code: with one of its own, an update looks at no other's graphs.
    own = FunctionType(run.__code__.replace(), run.__globals__, run.__name__, closure=run.__closure__)
    return torch.compile(  # type: ignore[reportCallIssue]
        own, fullgraph=True, dynamic=True, backend=_inductor, recompile_limit=_RECOMPILE_LIMIT
    )


def _inductor(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Any]:
    with warnings.catch_warnings():
        # It looks at retired modules of torch.
        warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
        return lookup_backend("inductor")(graph, inputs)
