"""Weight decay as a factor: an update c W + rest, whose c is a number, is W ← (1 + c) W + rest.

That is how torch.optim decays weights, so that both round alike, and one product less for each element.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from nestdsl.graph.optimizer import Line, Operand, OptimizerProgram
from nestdsl.graph.optimizer_timing import timing
from nestdsl.vocabulary.shapes import CONSTANT, WEIGHT, Shape

Split = tuple[Operand | None, Operand | None]
"""c and rest; c is None where the weight itself is no term, rest where there is nothing else."""


def split_decay(program: OptimizerProgram) -> tuple[OptimizerProgram, str | None]:
    """The program whose update is the rest, and the name of c among its constants.

    Of a program in which the weight is no term of the update by itself: the program, and None.
    """
    splitter = _Splitter(program, timing(program).known)
    decay, rest = splitter.split(program.update)
    if not isinstance(rest, str) or not isinstance(decay, str):
        return program, None
    lines = _needed(program, (*program.lines, *splitter.added), rest, decay)
    found = replace(program, lines=lines, update=rest)
    # What is kept between updates must stay what it is, and the rest must be a tensor.
    is_so = timing(found).kept == timing(program).kept and rest not in timing(found).known
    return (found, decay) if is_so else (program, None)


@dataclass(slots=True)
class _Splitter:
    program: OptimizerProgram
    known: frozenset[str]
    added: list[Line] = field(default_factory=list)

    def split(self, operand: Operand) -> Split:
        if operand == "weight":
            return 1, None
        line = next(
            (one for one in self.program.lines if one.result == operand and one.function != "learn"), None
        )
        if line is None or self._is_known(operand):
            return None, operand
        parts: list[Split] = []
        match line.function, line.operands:
            case (("add" | "subtract"), (left, right)):
                parts = [self.split(left), self.split(right)]
            case "negate", (one,):
                parts = [self.split(one)]
            case "multiply", (left, right) if self._is_known(left):
                parts = [(left, left), self.split(right)]
            case (("multiply" | "divide"), (left, right)) if self._is_known(right):
                parts = [self.split(left), (right, right)]
        scaled = [decay for decay, rest in parts if decay is not None and decay != rest]
        if not scaled:
            return None, operand
        is_sum = line.function in ("add", "subtract")
        return (
            self._joined(line.function, [decay for decay, _ in parts], is_sum, CONSTANT),
            self._joined(line.function, [rest for _, rest in parts], is_sum, WEIGHT),
        )

    def _is_known(self, operand: Operand) -> bool:
        return not isinstance(operand, str) or operand in self.known

    def _joined(
        self, function: str, operands: list[Operand | None], is_sum: bool, shape: Shape
    ) -> Operand | None:
        """The function of what is there: a sum of one term is that term, a product of one is nothing."""
        present = [operand for operand in operands if operand is not None]
        if len(present) == len(operands):
            return self._line(function, tuple(present), shape)
        if not is_sum or not present:
            return None
        return (
            self._line("negate", (present[0],), shape)
            if function == "subtract" and operands[0] is None
            else present[0]
        )

    def _line(self, function: str, operands: tuple[Operand, ...], shape: Shape) -> str:
        name = f"{self.program.update}.decay.{len(self.added) + 1}"
        self.added.append(Line(name, function, operands, shape))
        return name


def _needed(program: OptimizerProgram, lines: tuple[Line, ...], *results: str) -> tuple[Line, ...]:
    """The lines that results, memories and the other optimizer's arguments depend on."""
    needed = set(results) | {str(value) for _, value in program.otherwise_arguments}
    needed |= {str(value) for memory in program.memories for _, value in memory.arguments}
    kept: list[Line] = []
    for line in reversed(lines):
        if line.result in needed or line.function == "learn":
            kept.append(line)
            needed |= {operand for operand in line.operands if isinstance(operand, str)}
    return tuple(reversed(kept))
