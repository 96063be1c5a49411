"""An optimizer written in the language, elaborated: memories of gradients, and the lines between them.

A program is frozen data without spans: the plan holds it and the runtime runs it. It speaks of one
weight at a time. A vector counts as one row, a stack of matrices as matrices side by side. The names
that its lines can read: `grad`, `weight`, `step_count` (how often the weight has moved, this time
counted), its parameters, its memories, and results of earlier lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.vocabulary.gradient_memories import MEMORY_KINDS, MemoryKind
from nestdsl.vocabulary.shapes import Shape
from nestdsl.vocabulary.signatures import Value
from nestdsl.vocabulary.timing import ReadTime

Operand = str | int | float
"""A name, or a number."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `result = function(operands)`.

    `function` is one of add subtract multiply divide power negate, a function of the library, or
    - `learn`: the memory `result` takes a step; the operands are what it learns, or a key and a value;
    - `answer`: what the memory that is the first operand answers to the second, a key for each row;
    - `debias`: the first operand, a moving average, divided by the second;
    - `bias`: of a moving average whose decay is the first operand, after as many updates as the
      memory named by the option `memory` has had: 1 - decay ** updates (1 before the first).

    `period` is after how many updates of the weight its value changes; a line of a longer period is
    not run again before.
    """

    result: str
    function: str
    operands: tuple[Operand, ...]
    shape: Shape
    period: int = 1
    options: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True, slots=True)
class GradientMemory:
    """A level inside an optimizer: what it keeps for each weight, and how it learns.

    kind: a name of `MEMORY_KINDS`, which says what it is. `arguments`, its rates, are numbers or names of
    results. It moves once in `period` updates of the weight, by the mean (or, with `reduce` = `sum`, the
    sum) of what gathered since. Lines read it as it is after that move, or with ReadTime.BEFORE as it
    was before.
    """

    name: str
    kind: str
    arguments: tuple[tuple[str, Operand], ...]
    shape: Shape
    period: int = 1
    read: ReadTime = ReadTime.AFTER
    reduce: str = "mean"
    options: tuple[tuple[str, Value], ...] = ()

    @property
    def declared(self) -> MemoryKind:
        """What is known of its kind."""
        return MEMORY_KINDS[self.kind]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parameter whose value follows the updates of what the optimizer drives.

    From 0 to `peak` over the first `warmup` updates, then by `shape` (`constant`, `linear`, `cosine`)
    to `floor` times the peak at update number `steps`, where it stays. With `steps` 0 that is the end
    of the run.
    """

    parameter: str
    shape: str
    peak: float
    warmup: int = 0
    steps: int = 0
    floor: float = 0.0


@dataclass(frozen=True, slots=True)
class OptimizerProgram:
    """An optimizer with its parameters: `update`, a result or a memory, is what is added to the weight.

    `structural` are the parameters that lines or memories were made from: they cannot change while it
    runs. With `otherwise` (whose parameters are `otherwise_arguments`: numbers or results of this
    program's constant lines) the program is for the matrices of hidden levels alone, and all other
    weights are driven by that.
    """

    name: str
    parameters: tuple[tuple[str, Value], ...]
    memories: tuple[GradientMemory, ...]
    lines: tuple[Line, ...]
    update: str
    schedules: tuple[Schedule, ...] = ()
    structural: tuple[str, ...] = ()
    otherwise: OptimizerProgram | None = None
    otherwise_arguments: tuple[tuple[str, Operand], ...] = ()


def chain(program: OptimizerProgram, *, is_matrix: bool) -> tuple[OptimizerProgram, ...]:
    """The programs from an optimizer to the one that drives a weight: the last; those before have left it."""
    programs = [program]
    while programs[-1].otherwise is not None and not is_matrix:
        programs.append(programs[-1].otherwise)
    return tuple(programs)
