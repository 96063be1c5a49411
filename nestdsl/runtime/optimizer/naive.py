"""An optimizer as its equations say it: the truth for tests, and what drives levels that learn in context.

A pure function, line by line, through which gradients pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nestdsl.graph.optimizer import GradientMemory, Line, OptimizerProgram
from nestdsl.graph.optimizer_slots import gathered_names, kept_names, state_names
from nestdsl.graph.optimizer_timing import is_due, timing
from nestdsl.runtime.optimizer.constants import known_numbers
from nestdsl.runtime.optimizer.functions import FUNCTIONS, as_matrices
from nestdsl.runtime.optimizer.gradient_memories import RULES
from nestdsl.runtime.optimizer.memories import STEP_COUNT, initial_state
from nestdsl.vocabulary.timing import ReadTime

Memory = dict[str, Any]
"""Tensors by the names of `slots`, and under `step_count` how often the weight has moved."""


def initial_memory(program: OptimizerProgram, weight: Tensor, batch: int = 0) -> Memory:
    """What a program remembers of a weight [*batch, *shape] before its first update."""
    return {**initial_state(program, weight, batch), STEP_COUNT: 0}


def apply(
    program: OptimizerProgram,
    parameters: Mapping[str, float],
    gradient: Tensor,
    memory: Memory,
    weight: Tensor,
    batch: int = 0,
) -> tuple[Tensor, Memory]:
    """One update of a weight [*batch, *shape]: what is added to it, and the next memory.

    parameters: as `constants.parameters_at` gives them for this update. It computes in at least float32.
    """
    step_count = memory[STEP_COUNT] + 1
    kind = torch.promote_types(weight.dtype, torch.float32)
    grad, matrices = as_matrices(gradient.to(kind), batch), as_matrices(weight.to(kind), batch)
    known = known_numbers(program, dict(parameters), step_count, (matrices.shape[-2], matrices.shape[-1]))
    when = timing(program)
    levels = {level.name: level for level in program.memories}
    values: dict[str, Any] = {**known, "grad": grad, "weight": matrices}
    values |= {level.name: _read(_state(level, memory, batch)) for level in program.memories}
    kept = kept_names(program)
    following: Memory = {**memory, STEP_COUNT: step_count}
    for line in program.lines:
        if line.function == "learn":
            state = _moved(levels[line.result], line, values, memory, following, step_count, batch)
            if levels[line.result].read is ReadTime.AFTER:
                values[line.result] = _read(state)
        elif line.result in when.known:
            continue
        elif is_due(when.changes[line.result], step_count):
            values[line.result] = _result(line, values, levels)
            if line.result in kept:
                name = kept[line.result]
                following[name] = values[line.result].reshape(memory[name].shape)
        elif line.result in kept:
            values[line.result] = as_matrices(memory[kept[line.result]], batch)
    return values[program.update].expand(matrices.shape).reshape(weight.shape), following


def _state(level: GradientMemory, memory: Memory, batch: int) -> tuple[Tensor, ...]:
    return tuple(as_matrices(memory[name], batch) for name in state_names(level))


def _read(state: tuple[Tensor, ...]) -> Any:
    """A state as lines read it: a network only answers, with all of its parts."""
    return state[0] if len(state) == 1 else state


def _result(line: Line, values: Mapping[str, Any], levels: Mapping[str, GradientMemory]) -> Tensor:
    operands = [_operand(operand, values) for operand in line.operands]
    if line.function == "answer":
        state, key = operands
        answer = RULES[levels[str(line.operands[0])].kind].answer
        assert answer is not None
        return answer(state if isinstance(state, tuple) else (state,), key)
    return FUNCTIONS[line.function](*operands, **dict(line.options))


def _operand(operand: str | int | float, values: Mapping[str, Any]) -> Any:
    return values[operand] if isinstance(operand, str) else operand


def _moved(
    level: GradientMemory,
    line: Line,
    values: Mapping[str, Any],
    memory: Memory,
    following: Memory,
    step_count: int,
    batch: int,
) -> tuple[Tensor, ...]:
    """A memory's next state, which `following` takes up; its old one between its moves."""
    inputs = [_operand(operand, values) for operand in line.operands]
    names = gathered_names(level)
    for position, name in enumerate(names):
        inputs[position] = as_matrices(memory[name], batch) + inputs[position]
        following[name] = inputs[position].reshape(memory[name].shape)
    before = _state(level, memory, batch)
    if step_count % level.period:
        return before
    for position, name in enumerate(names):
        if level.reduce == "mean":
            inputs[position] = inputs[position] / level.period
        following[name] = torch.zeros_like(memory[name])
    rates = {name: _operand(operand, values) for name, operand in level.arguments}
    state = RULES[level.kind].move(before, tuple(inputs), rates)
    for name, part in zip(state_names(level), state, strict=True):
        following[name] = part.reshape(memory[name].shape)
    return state
