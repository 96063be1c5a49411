"""The optimizers that move weights once in a number of steps: programs, and the weights that they drive.

`drivers` builds those of one group of weights; `step_levels.py` says when each of them moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass

from torch import nn

from nestdsl.plan.plan import OptimizerPlan, OrderedLevel
from nestdsl.runtime.optimizer.groups import Driven
from nestdsl.runtime.optimizer.parts import Part, parts_of
from nestdsl.vocabulary.functions import AUTO

Weights = Mapping[str, nn.Parameter]


@dataclass(frozen=True, slots=True)
class Driver:
    """Weights by full name, and the part of an optimizer that moves them.

    `run_steps` is how many updates the whole run has, as schedules that fall to its end need it.
    """

    part: Part
    weights: Weights
    run_steps: int | None

    def step(self, rate_scale: float) -> None:
        """Moves the weights by their `.grad`, `rate_scale` times as far as the program says.

        A program with a schedule of its own moves them as far as it says.
        """
        self.part.step({}, self.run_steps, rate_scale if self.follows_run else 1.0)

    @property
    def follows_run(self) -> bool:
        """Whether the run's own schedule scales these updates: no program has one that takes its place."""
        return not any(program.schedules for program in self.part.programs)

    @property
    def name(self) -> str:
        """The optimizer whose update these weights get."""
        return self.part.programs[-1].name

    def driven(self) -> Iterator[tuple[str, Driven]]:
        """Each weight by its name, with what is remembered of it."""
        return zip(self.weights, self.part.fast.driven, strict=True)


def drivers(
    plan: OptimizerPlan,
    weights: Weights,
    matrices: Set[str],
    *,
    compile: bool,
    run_steps: int | None,
    precision: str = AUTO,
) -> tuple[Driver, ...]:
    """What carries out `plan` on `weights`.

    `matrices` names the weights that an optimizer for matrices may drive (`hidden_matrices`); `precision`
    is that of products where the plan leaves it to the machine.
    There is one driver, or two where such an optimizer leaves the other weights to another.
    """
    if plan.program is None:
        raise ValueError(f"the plan says not what the optimizer `{plan.name}` does")
    names = {id(weight): name for name, weight in weights.items()}
    parts = parts_of(
        plan.program,
        weights.values(),
        lambda weight: names[id(weight)] in matrices,
        compile=compile,
        precision=precision,
    )
    found = []
    for part in parts:
        own = [names[id(one.weight)] for one in part.fast.driven]
        found.append(Driver(part, {name: weights[name] for name in own}, run_steps))
    return tuple(found)


def hidden_matrices(weights: Mapping[OrderedLevel, Weights]) -> frozenset[str]:
    """The names of the weights that are matrices of hidden levels, as the plan says of each level."""
    return frozenset(
        name
        for level, of_level in weights.items()
        if level.matrices
        for name, weight in of_level.items()
        if weight.ndim == 2
    )
