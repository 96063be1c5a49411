"""Weights that one optimizer drives, in parts: its matrices, and what it leaves to another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from nestdsl.graph.optimizer import OptimizerProgram, chain
from nestdsl.runtime.optimizer.constants import parameters_at
from nestdsl.runtime.optimizer.fast import FastOptimizer
from nestdsl.runtime.optimizer.precision import with_precision
from nestdsl.vocabulary.functions import AUTO


@dataclass(frozen=True, slots=True)
class Part:
    """What moves some weights: the last of a chain of programs. `fast.driven` are they, in their order."""

    programs: tuple[OptimizerProgram, ...]
    fast: FastOptimizer

    def step(self, given: Mapping[str, float], run_steps: int | None, scale: float = 1.0) -> None:
        """One update of all by their `.grad`; `given` and `run_steps` are those of `parameters_at`."""
        self.fast.step(partial(parameters_at, self.programs, given, run_steps=run_steps), scale)


def parts_of(
    program: OptimizerProgram,
    weights: Iterable[Tensor],
    is_matrix: Callable[[Tensor], bool],
    *,
    compile: bool,
    precision: str = AUTO,
) -> tuple[Part, ...]:
    """One part, or two where the program is for matrices alone and there are others too.

    precision: of products where the program leaves it to the machine (`precision.py`).
    """
    driven: dict[bool, list[Tensor]] = {True: [], False: []}
    for weight in weights:
        driven[program.otherwise is None or is_matrix(weight)].append(weight)
    found = []
    for of_matrices, members in driven.items():
        if members:
            programs = chain(program, is_matrix=of_matrices)
            own = with_precision(programs[-1], precision)
            found.append(Part(programs, FastOptimizer(own, members, compile=compile)))
    return tuple(found)
