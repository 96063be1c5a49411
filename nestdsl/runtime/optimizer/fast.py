"""Moves all weights of a program at once and in place, as `naive.py` says of each one.

What goes element by element runs as one kernel over all weights, whatever their sizes; products and
other functions of whole matrices run on stacks of those of one shape. Nothing loops over weights, and no
weight is copied. Each kind of update has its own stages: at most of them slow memories do not move.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from torch import Tensor

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.graph.optimizer_timing import ALWAYS, timing
from nestdsl.runtime.compile_progress import kernels_are_compiled
from nestdsl.runtime.optimizer.constants import Numbers, known_numbers
from nestdsl.runtime.optimizer.decay import split_decay
from nestdsl.runtime.optimizer.groups import Batch, Driven, grouped
from nestdsl.runtime.optimizer.kernels import StageKernels
from nestdsl.runtime.optimizer.lines import KEEP, SCALE, Given, due_lines, steps_of, value_of
from nestdsl.runtime.optimizer.memories import initial_state
from nestdsl.runtime.optimizer.stages import Copy, Elementwise, Stage, Whole, is_elementwise, stages_of
from nestdsl.runtime.optimizer.values import Values
from nestdsl.runtime.optimizer.whole import run_whole

_COMPILED_UPDATES = 32
"""How many kinds of updates are all compiled; of more only the one at which no slow memory moves."""
_LONGEST_CYCLE = 1 << 12
"""Up to how many updates kinds of them are counted."""

Parameters = Callable[[int], Numbers]
"""The parameters at an update, by its number."""


class FastOptimizer:
    """Carries out one program on `weights`; `compile` says whether by compiled kernels."""

    def __init__(self, program: OptimizerProgram, weights: Sequence[Tensor], *, compile: bool = True) -> None:
        self.program = program
        self._compile = compile
        self._running, self._decay = split_decay(program)
        self._is_elementwise = is_elementwise(program)
        self.driven, self._groups = grouped(program, weights, is_elementwise=self._is_elementwise)
        self._updates: dict[frozenset[str], _Update] = {}

    @torch.no_grad()
    def step(self, parameters: Parameters, scale: float = 1.0) -> None:
        """One update of every weight that has a `.grad`, by it, times `scale`.

        parameters: of the update of a weight with that number (`constants.parameters_at`).
        """
        ages: dict[int, tuple[_Update, Numbers]] = {}
        for group in self._groups:
            for batch in group.batches():
                age = batch.step_count
                if age not in ages:
                    ages[age] = self._update_at(age), parameters(age)
                update, numbers = ages[age]
                update.run(batch, self._known(batch, numbers, scale))
                batch.done()

    def start_anew(self, one: Driven) -> None:
        """Forgets all that is remembered of a weight."""
        one.step_count = 0
        for name, tensor in initial_state(self.program, one.weight).items():
            one.state[name].copy_(tensor)

    def _known(self, batch: Batch, parameters: Numbers, scale: float) -> Numbers:
        """All numbers that an update takes from outside."""
        shape = batch.weights[0].shape
        extents = (shape[-2] if len(shape) > 1 else 1, shape[-1] if shape else 1)
        known = known_numbers(self._running, parameters, batch.step_count, extents)
        known[SCALE[0]] = scale
        known[KEEP[0]] = 1 if self._decay is None else 1 + scale * known[self._decay]
        return known

    def _update_at(self, step_count: int) -> _Update:
        """What is done at an update."""
        due = due_lines(self._running, step_count)
        if due not in self._updates:
            # By the number of the update alone, so that a continued run computes what a whole one does.
            is_first = step_count == 1 and due not in self._kinds
            stages = stages_of(steps_of(self._running, due, decays=self._decay is not None))
            compile = self._compile and not is_first and self._is_compiled(due)
            if compile:
                kernels_are_compiled(f"the optimizer {self.program.name}")
            self._updates[due] = _Update(stages, compile=compile, is_elementwise=self._is_elementwise)
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


class _Update:
    """One kind of update: its stages, and what carries them out."""

    def __init__(self, stages: tuple[Stage, ...], *, compile: bool, is_elementwise: bool) -> None:
        self._stages = [
            StageKernels(stage, compile=compile) if isinstance(stage, Elementwise) else stage
            for stage in stages
        ]
        self._is_elementwise = is_elementwise

    def run(self, batch: Batch, known: Numbers) -> None:
        values, given = Values(batch), _Given(known)
        items = len(batch.weights) if self._is_elementwise else values.items
        for stage in self._stages:
            match stage:
                case StageKernels():
                    stage.run(values, given, items)
                case Whole():
                    run_whole(stage.steps, values, given)
                case Copy():
                    for where, name in stage.writes:
                        values.copy(where, name)


class _Given(dict[Given, float]):
    """Numbers from outside, in the forms in which steps take them."""

    def __init__(self, known: Numbers) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, given: Given) -> float:
        self[given] = value_of(given, self._known)
        return self[given]
