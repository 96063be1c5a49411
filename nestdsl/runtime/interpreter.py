"""Runs the instructions of a body, one after the other: one function for each class of them.

What a level computes is its own affair (`kinds/`); how a body is divided and compiled is that of `run.py` and
`compilation.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from nestdsl.plan import instructions as plan
from nestdsl.runtime.compile_regions import INPUT
from nestdsl.runtime.functions import FUNCTIONS, at_least_float32, precise, precision_beside
from nestdsl.runtime.program import Program
from nestdsl.runtime.python_parts import call_function, read_level
from nestdsl.runtime.state import State
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS, PYTHON_KINDS


class RunsBlocks(Protocol):
    """What runs the blocks within a body (`run.py`)."""

    def block(self, block: nn.Module, x: Tensor, state: State | None) -> tuple[Tensor, State]: ...

    def copies(
        self, copies: nn.ModuleList, x: Tensor, states: Sequence[State] | None
    ) -> tuple[Tensor, list[State]]: ...


class Frame:
    """One pass of a body, or of one of its regions.

    module: the block, whose parts have the names that they have in its program. values: the flows and
    contexts so far, by the variables that hold them. state: that before the pass, by level and block; what is
    not there begins a context. following: the state after it. aligned: in a loop, whether a cycle of its
    chunks begins with these tokens; None outside.
    """

    def __init__(
        self,
        module: nn.Module,
        program: Program,
        values: dict[str, Any],
        state: State,
        run: RunsBlocks,
        aligned: bool | None = None,
    ) -> None:
        self.module = module
        self.program = program
        self.values = values
        self.state = dict(state)
        self.following: State = {}
        self.run = run
        self.aligned = aligned

    def part(self, name: str) -> nn.Module:
        return getattr(self.module, name)


def execute(frame: Frame, lines: Sequence[plan.Instruction]) -> None:
    """Runs instructions in order: adds what they make to the values, and what they leave to the state."""
    for line in lines:
        _EXECUTE[type(line)](frame, line)


def _call(frame: Frame, line: plan.Call) -> None:
    operands = [frame.values[one] if isinstance(one, str) else one for one in line.operands]
    options = dict(line.options)
    if line.function == "constant" or not operands:  # of numbers alone: at every token of what enters
        x = frame.values[INPUT]
        operands += [x, precision_beside(frame.module, x, precise=line.precise)]
    if line.function == "dropout":
        options["training"] = frame.module.training
    if line.function in PYTHON_FUNCTIONS:
        frame.values[line.result] = call_function(line.function, operands, options)
    else:
        frame.values[line.result] = FUNCTIONS[line.function](*operands, **options)


def _read(frame: Frame, line: plan.Read) -> None:
    level, x = frame.part(line.level), frame.values[line.flow]
    is_stateful, state = line.level in frame.program.stateful, frame.state.get(line.level)
    declared = frame.program.levels.get(line.level)
    if declared is not None and declared.kind in PYTHON_KINDS:
        dtype = precision_beside(frame.module, x)
        frame.values[line.result], following = read_level(declared, level, x, state, dtype)
        if is_stateful:
            frame.following[line.level] = following
    elif is_stateful:
        frame.values[line.result], frame.following[line.level] = level(x, state)
    else:
        frame.values[line.result] = precise(level, x) if line.precise else level(x)


def _learn(frame: Frame, line: plan.Learn) -> None:
    level, values = frame.part(line.level), tuple(frame.values[name] for name in line.values)
    options: dict[str, Any] = {
        name: frame.values[value] if isinstance(value, str) else value for name, value in line.factors
    }
    if frame.aligned is not None:
        options |= {"aligned": frame.aligned, "within": True}
    is_one = line.level in frame.program.levels
    frame.values[line.result], frame.following[line.level] = level(
        frame.values[line.key], values[0] if is_one else values, frame.state.get(line.level), **options
    )


def _recall(frame: Frame, line: plan.Recall) -> None:
    member = () if line.member is None else (line.member,)
    read: Callable[..., Tensor] = frame.part(line.level).read  # type: ignore[assignment]
    frame.values[line.result] = read(frame.values[line.context], frame.values[line.query], *member)


def _peek(frame: Frame, line: plan.Peek) -> None:
    options: dict[str, Any] = {} if line.member is None else {"member": line.member}
    frame.values[line.result], frame.state[line.level] = frame.part(line.level)(
        frame.values[line.query], state=frame.state.get(line.level), aligned=bool(frame.aligned), **options
    )


def _read_start(frame: Frame, line: plan.ReadStart) -> None:
    frame.values[line.result] = frame.part(line.level)(frame.values[line.query], at_start=True)


def _columns(frame: Frame, line: plan.Columns) -> None:
    columns: Callable[..., Tensor] = frame.part(line.level).columns  # type: ignore[assignment]
    frame.values[line.result] = columns(frame.values[line.answers], line.member)


def _run_block(frame: Frame, line: plan.RunBlock) -> None:
    part, state = frame.part(line.block), frame.state.get(line.block)
    x, run = frame.values[line.flow], frame.run
    made = run.copies(part, x, state) if isinstance(part, nn.ModuleList) else run.block(part, x, state)
    frame.values[line.result], frame.following[line.block] = made


def _cast(frame: Frame, line: plan.Cast) -> None:
    frame.values[line.result] = at_least_float32(frame.values[line.flow])


def _round(frame: Frame, line: plan.Round) -> None:
    frame.values[line.result] = frame.values[line.flow].to(frame.values[line.like].dtype)


_EXECUTE: dict[type, Callable[[Frame, Any], None]] = {
    plan.Call: _call,
    plan.Read: _read,
    plan.Learn: _learn,
    plan.Recall: _recall,
    plan.Peek: _peek,
    plan.ReadStart: _read_start,
    plan.Columns: _columns,
    plan.RunBlock: _run_block,
    plan.Cast: _cast,
    plan.Round: _round,
}
