"""What a plan says of the precision in which its optimizers multiply matrices. No torch here."""

from __future__ import annotations

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.plan.plan import Plan
from nestdsl.vocabulary.functions import PRECISION


def precisions(plan: Plan) -> dict[str, frozenset[str]]:
    """Of each optimizer that names any, by its name, the precisions of its products: `precisions_of`."""
    found: dict[str, frozenset[str]] = {}
    optimizers = [level.optimizer for level in plan.levels if level.optimizer is not None]
    for optimizer in (*optimizers, plan.train.optimizer):
        if optimizer.program is not None and (own := precisions_of(optimizer.program)):
            found[optimizer.name] = found.get(optimizer.name, frozenset()) | own
    return found


def precisions_of(program: OptimizerProgram) -> frozenset[str]:
    """Those that a program names, and what it leaves weights to; `auto` is the machine's choice."""
    own = frozenset(
        value
        for line in program.lines
        for name, value in line.options
        if name == PRECISION and isinstance(value, str)
    )
    return own if program.otherwise is None else own | precisions_of(program.otherwise)
