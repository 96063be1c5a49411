"""The steps of an update in stages: what runs element by element together, and what sees whole matrices.

Elementwise stages and stages of whole matrices take turns. Within an elementwise one nothing is written
that is not kept, and each element is read once; so a step stands in the latest one of them in which all
that it reads is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.runtime.functions import POINTWISE
from nestdsl.runtime.optimizer.lines import Given, Step, Steps
from nestdsl.vocabulary.shapes import CONSTANT, NUMBER, WEIGHT, Shape


@dataclass(frozen=True, slots=True)
class Elementwise:
    """Steps on tensors of one shape, element by element.

    reads: the tensors it takes; `numbers` those of which each matrix has one element. `given` are the
    numbers from outside. `stores`: what is written where, to `weight`, to `@states`, or under its own name
    for later stages.
    """

    steps: tuple[Step, ...]
    shape: Shape
    reads: tuple[str, ...]
    numbers: tuple[str, ...]
    given: tuple[Given, ...]
    stores: tuple[tuple[str, str], ...]

    @property
    def tensors(self) -> tuple[str, ...]:
        """All tensors that it reads or writes, each once."""
        return tuple(dict.fromkeys((*self.reads, *(where for where, _ in self.stores))))


@dataclass(frozen=True, slots=True)
class Whole:
    """Steps on whole matrices, one after the other."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Copy:
    """Results that take the place of states, or of the weight, after all have read those."""

    writes: tuple[tuple[str, str], ...]


Stage = Elementwise | Whole | Copy


def stages_of(steps: Steps) -> tuple[Stage, ...]:
    """The stages of an update, in their order."""
    return _Stages(steps).run()


class _Stages:
    """Elementwise stages have even levels, those of whole matrices odd ones."""

    def __init__(self, steps: Steps) -> None:
        self.steps, self.shapes = steps.steps, steps.shapes
        self.producer = {name: number for number, step in enumerate(self.steps) for name in step.results}
        self.readers: dict[str, list[int]] = {}
        for number, step in enumerate(self.steps):
            for name in _names(step):
                self.readers.setdefault(name, []).append(number)
        self.is_elementwise = [_is_elementwise(step, self.shapes) for step in self.steps]
        self.levels = self._earliest()
        self._sink(dict(steps.writes))
        self.writes: dict[int, list[tuple[str, str]]] = {}
        for where, name in steps.writes:
            at = [self.producer[name], *self.readers.get(where, ())]
            self.writes.setdefault(max(self.levels[number] for number in at), []).append((where, name))

    def run(self) -> tuple[Stage, ...]:
        stages: list[Stage] = []
        for level in range(max(self.levels) + 1):
            own = [number for number, at in enumerate(self.levels) if at == level]
            copies = list(self.writes.get(level, ()))
            if level % 2:
                stages.append(Whole(tuple(self.steps[number] for number in own)))
            else:
                for shape in dict.fromkeys(self.steps[number].shape for number in own):
                    of_shape = [number for number in own if self.steps[number].shape == shape]
                    results = {self.steps[number].results[0] for number in of_shape}
                    fused = [(where, name) for where, name in copies if name in results]
                    copies = [one for one in copies if one not in fused]
                    stages.append(self._elementwise(of_shape, shape, fused))
            if copies:
                stages.append(Copy(tuple(copies)))
        return tuple(stages)

    def _earliest(self) -> list[int]:
        levels: list[int] = []
        for number, step in enumerate(self.steps):
            parity = 0 if self.is_elementwise[number] else 1
            behind = [levels[self.producer[name]] for name in _names(step) if name in self.producer]
            levels.append(max((level + (level % 2 != parity) for level in behind), default=parity))
        return levels

    def _sink(self, writes: dict[str, str]) -> None:
        """Moves what is made of tensors at hand alone to where it is read first."""
        kept = set(writes.values())
        can_sink: list[bool] = []
        for number, step in enumerate(self.steps):
            (name,) = step.results if self.is_elementwise[number] else ("",)
            operands = [self.producer[one] for one in _names(step) if one in self.producer]
            can_sink.append(
                self.is_elementwise[number]
                and name not in kept
                and all(
                    can_sink[one] or not self.is_elementwise[one] or self.steps[one].results[0] in kept
                    for one in operands
                )
            )
        for number in reversed(range(len(self.steps))):
            readers = self.readers.get(self.steps[number].results[0], ())
            if can_sink[number] and readers:
                self.levels[number] = min(
                    self.levels[one] - (not self.is_elementwise[one]) for one in readers
                )

    def _elementwise(self, own: list[int], shape: Shape, fused: list[tuple[str, str]]) -> Elementwise:
        steps = tuple(self.steps[number] for number in own)
        results = {step.results[0] for step in steps}
        inputs = dict.fromkeys(name for step in steps for name in _names(step) if name not in results)
        written = {name for _, name in fused}
        later = [
            name
            for name in results
            if name not in written and any(one not in own for one in self.readers.get(name, ()))
        ]
        # What is written elsewhere, or only later, must be at hand until then.
        of_others = {name for writes in self.writes.values() for _, name in writes}
        later += [name for name in results & of_others if name not in written and name not in later]
        operands = [operand for step in steps for operand in step.operands]
        return Elementwise(
            steps,
            shape,
            tuple(name for name in inputs if self.shapes[name] != NUMBER),
            tuple(name for name in inputs if self.shapes[name] == NUMBER),
            tuple(dict.fromkeys(operand for operand in operands if isinstance(operand, tuple))),
            (*fused, *((name, name) for name in sorted(later))),
        )


def is_elementwise(program: OptimizerProgram) -> bool:
    """Whether each element of a weight moves for itself, whatever the shape."""
    lines = [line for line in program.lines if line.function not in ("learn", "bias")]
    functions = {line.function for line in lines if line.shape != CONSTANT} - {"debias"}
    shapes = {line.shape for line in lines} | {memory.shape for memory in program.memories}
    is_alone = all(memory.declared.is_elementwise for memory in program.memories)
    return is_alone and functions <= POINTWISE.keys() and shapes <= {CONSTANT, WEIGHT}


def _names(step: Step) -> list[str]:
    return [operand for operand in step.operands if isinstance(operand, str)]


def _is_elementwise(step: Step, shapes: dict[str, Shape]) -> bool:
    alike = (step.shape, NUMBER)
    return (
        step.function in POINTWISE
        and step.shape != NUMBER
        and all(shapes[name] in alike for name in _names(step))
    )
