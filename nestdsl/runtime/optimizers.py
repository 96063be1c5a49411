"""The optimizers that move weights once in a number of steps: programs, and the weights that they drive.

`drivers` builds those of one group of weights; `step_levels.py` says when each of them moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from nestdsl.graph.matrices import NO_MATRICES
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.plan.plan import Body, OptimizerPlan, OrderedLevel, Plan
from nestdsl.runtime.optimizer.constants import chain, parameters_at
from nestdsl.runtime.optimizer.fast import FastOptimizer
from nestdsl.runtime.optimizer.packs import Driven

Weights = Mapping[str, nn.Parameter]


@dataclass(frozen=True, slots=True)
class Driver:
    """Weights by full name, and the chain of programs of which the last one moves them.

    `run_steps` is how many updates the whole run has, as schedules that fall to its end need it.
    """

    programs: tuple[OptimizerProgram, ...]
    weights: Weights
    fast: FastOptimizer
    run_steps: int | None

    def step(self, rate_scale: float) -> None:
        """Moves the weights by their `.grad`, `rate_scale` times as far as the program says.

        A program with a schedule of its own moves them as far as it says.
        """
        has_schedule = any(program.schedules for program in self.programs)
        parameters = partial(parameters_at, self.programs, {}, run_steps=self.run_steps)
        self.fast.step(parameters, 1.0 if has_schedule else rate_scale)

    def driven(self) -> Iterator[tuple[str, Driven]]:
        """Each weight by its name, with what is remembered of it."""
        return zip(self.weights, self.fast.driven, strict=True)


def drivers(
    plan: OptimizerPlan, weights: Weights, matrices: Set[str], *, compile: bool, run_steps: int | None
) -> tuple[Driver, ...]:
    """What carries out `plan` on `weights`.

    `matrices` names the weights that an optimizer for matrices may drive (`hidden_matrices`).
    There is one driver, or two where such an optimizer leaves the other weights to another.
    """
    program = plan.program
    if program is None:
        raise ValueError(f"the plan says not what the optimizer `{plan.name}` does")
    is_for_all = program.otherwise is None
    driven = {name: weight for name, weight in weights.items() if is_for_all or name in matrices}
    others = {name: weight for name, weight in weights.items() if name not in driven}
    found = []
    for part, is_matrix in ((driven, True), (others, False)):
        if part:
            programs = chain(program, is_matrix=is_matrix)
            fast = FastOptimizer(programs[-1], tuple[Tensor, ...](part.values()), compile=compile)
            found.append(Driver(programs, part, fast, run_steps))
    return tuple(found)


def hidden_matrices(plan: Plan, weights: Mapping[OrderedLevel, Weights]) -> frozenset[str]:
    """The names of the weights that are matrices of hidden levels, which Muon is meant for.

    These are the 2-D weights, except of an `embedding` (each row is moved by few tokens), of a
    `conv` (each row is a filter of one feature) and of the level that makes the model's output.
    Vectors and the 3-D stacks of memories with heads are no matrices either.
    """
    output = _output_level(plan.root)
    return frozenset(
        name
        for level, of_level in weights.items()
        if level.kind not in NO_MATRICES and output not in level.modules
        for name, weight in of_level.items()
        if weight.ndim == 2
    )


def _output_level(body: Body) -> str | None:
    """The level whose read is the body's output, directly or through functions of one flow."""
    makers = {instruction.result: instruction for instruction in body.lines}
    instruction = makers.get(body.output)
    while instruction is not None and instruction.operation == "function":
        flows = [operand for operand in instruction.operands if isinstance(operand, str)]
        instruction = makers.get(flows[0]) if len(flows) == 1 else None
    return instruction.target if instruction is not None and instruction.operation == "read" else None
