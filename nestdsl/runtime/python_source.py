"""The modules of a plan as Python to read: `nestdsl compile --emit python`.

It builds and computes what `build` does; nothing runs it, but a test that compares the two. Names come from
the plan, which may come from a file, so each is checked before it is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from nestdsl.diagnostics import fail
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.plan import instructions as lines
from nestdsl.plan.names import Names, identifier
from nestdsl.plan.plan import BlockPlan, Body, LevelPlan, Plan, Sharing
from nestdsl.plan.wellformed import OddPlanError, require_identifier
from nestdsl.runtime.arguments import with_precise_arguments
from nestdsl.runtime.compile_regions import cycle_tokens
from nestdsl.runtime.construction import class_of, constructor_arguments, parents_first, plastic_arguments
from nestdsl.runtime.functions import FUNCTIONS
from nestdsl.runtime.optimizer_source import program_names, program_source
from nestdsl.runtime.state import POSITION
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS, PYTHON_KINDS

_HEADER = '''"""{model}: written by nestdsl from its plan."""

from types import SimpleNamespace

from torch import nn

from nestdsl.graph.optimizer import GradientMemory, Line, OptimizerProgram, Schedule
from nestdsl.vocabulary.extension import PYTHON_FUNCTIONS, PYTHON_KINDS
from nestdsl.vocabulary.shapes import MatrixShape, Scalar
from nestdsl.vocabulary.timing import ReadTime, Reset, Stop, Through, Truncated
from nestdsl.runtime.functions import FUNCTIONS, at_least_float32, precise, precision_beside
from nestdsl.runtime.kinds import *
from nestdsl.runtime.run import in_chunks, in_turn
from nestdsl.runtime.learning.plastic import Plastic

functions = SimpleNamespace(**FUNCTIONS)'''

_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**"}


def python_source(plan: Plan) -> str:
    """The source of a Python module with one class for each body; the last, `Model`, is the whole.

    Raises NestError N0502 for a plan that names what is not known here, or what is no name.
    """
    plan = with_precise_arguments(plan)
    classes, programs = _class_names(plan), program_names(plan)
    optimizers = [f"{name} = {program_source(program)}" for program, name in programs.items()]
    bodies = [_class(body, classes, programs) for body in plan.bodies]
    return "\n\n\n".join([_HEADER.format(model=_checked(plan.model)), *optimizers, *bodies]) + "\n"


def _class_names(plan: Plan) -> dict[str, str]:
    names: dict[str, str] = {}
    classes = Names(["Model"])
    for body in plan.bodies:
        name = "".join(part.capitalize() for part in _checked(body.name).split("_"))
        names[body.name] = "Model" if body is plan.root else classes.new(name)
    return names


def _class(body: Body, classes: Mapping[str, str], programs: Mapping[OptimizerProgram, str]) -> str:
    what = f'    """{_checked(body.block)}: {body.input_size} -> {body.output_size}"""'
    parts = [f"class {classes[body.name]}(nn.Module):", what, "", "    def __init__(self):"]
    parts += ["        super().__init__()", *_indented(_parts(body, classes, programs), 2), ""]
    parts += ["    def forward(self, in_, state=None):", *_indented(_forward(body), 2)]
    if body.loop:
        takes, gives = ", ".join(_taken(body)), ", ".join(_given(body))
        parts += ["", "    def chunk(self, flows, state, *, aligned):", f"        {takes}, = flows"]
        parts += _indented(("state, after = dict(state), {}", *_lines(body, body.loop, in_loop=True)), 2)
        parts.append(f"        return ({gives},), after")
    return "\n".join(parts)


def _parts(body: Body, classes: Mapping[str, str], programs: Mapping[OptimizerProgram, str]) -> Iterator[str]:
    """The levels and blocks of a body, each as an attribute."""
    for level in parents_first(body):
        yield f"self.{_checked(level.attribute)} = {_level(level, body, programs)}"
    for shared in body.shared:
        if shared.form is Sharing.SIDE_BY_SIDE:
            members = ", ".join(f"self.{_checked(name)}" for name in shared.members)
            yield f"self.{_checked(shared.attribute)} = SideBySide({members})"
    for block in body.blocks:
        yield f"self.{_checked(block.attribute)} = {_copies(block, classes)}"


def _forward(body: Body) -> Iterator[str]:
    yield "state, after = dict(state or {}), {}"
    yield from _lines(body, body.instructions)
    if body.loop:
        parts = dict.fromkeys(lines.part_of(line) for line in body.loop)
        names = ", ".join(_literal(name) for name in (*filter(None, parts), POSITION))
        yield f"own = {{name: state[name] for name in ({names}) if name in state}}"
        flows = f"({', '.join(_taken(body))},)"
        sizes = f"chunk={body.chunk_tokens}, cycle={cycle_tokens(body)}"
        yield f"({', '.join(_given(body))},), own = in_chunks(self.chunk, {flows}, own, {sizes})"
        yield "after |= own"
    yield from _lines(body, body.after)
    yield f"return {_checked(body.output)}, after"


def _taken(body: Body) -> list[str]:
    made = {line.result for line in body.loop}
    read = (name for line in body.loop for name in (*lines.operands(line), *_beside(line)))
    return [_checked(name) for name in dict.fromkeys(read) if name not in made]


def _given(body: Body) -> list[str]:
    wanted = {name for line in body.after for name in lines.operands(line)} | {body.output}
    return [_checked(line.result) for line in body.loop if line.result in wanted]


def _beside(line: lines.Instruction) -> tuple[str, ...]:
    """What the numbers of a line stand beside: what enters."""
    is_number = isinstance(line, lines.Call) and not list(lines.operands(line))
    return (identifier("in"),) if is_number else ()


def _lines(body: Body, some: Iterable[lines.Instruction], *, in_loop: bool = False) -> Iterator[str]:
    levels = {level.attribute: level for level in body.levels}
    stateful = {level.attribute for level in body.levels if level.stateful}
    repeated = {block.attribute for block in body.blocks if block.repeated}
    aligned = ", aligned=aligned" if in_loop else ""
    for line in some:
        result, part = _checked(line.result), _checked(lines.part_of(line) or "none")
        before, after = f'state.get("{part}")', f'after["{part}"]'
        match line:
            case lines.Call():
                yield f"{result} = {_call(line)}"
            case lines.Read() if line.level in stateful:
                yield f"{result}, {after} = self.{part}({_checked(line.flow)}, {before})"
            case lines.Read():
                read = f"precise(self.{part}, " if line.precise else f"self.{part}("
                yield f"{result} = {read}{_checked(line.flow)})"
            case lines.Learn():
                values = ", ".join(map(_checked, line.values))
                values = values if line.level in levels else f"({values})"
                factors = "".join(f", {_checked(name)}={_operand(value)}" for name, value in line.factors)
                within = f"{aligned}, within=True" if in_loop else ""
                arguments = f"{_checked(line.key)}, {values}, {before}{factors}{within}"
                yield f"{result}, {after} = self.{part}({arguments})"
            case lines.Recall():
                query = f"{_checked(line.context)}, {_checked(line.query)}"
                yield f"{result} = self.{part}.read({query}{_member(line.member, '')})"
            case lines.Peek():
                query = f"{_checked(line.query)}, state={before}{_member(line.member, 'member=')}{aligned}"
                yield f'{result}, state["{part}"] = self.{part}({query})'
            case lines.ReadStart():
                yield f"{result} = self.{part}({_checked(line.query)}, at_start=True)"
            case lines.Columns():
                yield f"{result} = self.{part}.columns({_checked(line.answers)}, {line.member})"
            case lines.RunBlock() if line.block in repeated:
                yield f"{result}, {after} = in_turn(self.{part}, {_checked(line.flow)}, {before})"
            case lines.RunBlock():
                yield f"{result}, {after} = self.{part}({_checked(line.flow)}, {before})"
            case lines.Cast():
                yield f"{result} = at_least_float32({_checked(line.flow)})"
            case lines.Round():
                yield f"{result} = {_checked(line.flow)}.to({_checked(line.like)}.dtype)"


def _call(line: lines.Call) -> str:
    given, name = [_operand(operand) for operand in line.operands], line.function
    if name in _SIGNS:
        return f" {_SIGNS[name]} ".join(given)
    if name == "negate":
        return f"-{given[0]}"
    if _beside(line):
        given += [
            identifier("in"),
            f"precision_beside(self, {identifier('in')}, precise={line.precise})",
        ]
    given += [f"{_checked(key)}={_literal(value)}" for key, value in line.options]
    if name == "dropout":
        given.append("training=self.training")
    arguments = ", ".join(given)
    if name in PYTHON_FUNCTIONS:
        return f"PYTHON_FUNCTIONS[{_literal(name)}]({arguments})"
    if name not in FUNCTIONS:
        raise fail(
            "N0502",
            f"this plan has the function `{name}`, which is not known here",
            "declare the function with `nestdsl.function` before the plan is built",
        )
    return f"functions.{name}({arguments})"


def _level(level: LevelPlan, body: Body, programs: Mapping[OptimizerProgram, str]) -> str:
    name = class_of(level).__name__
    known = f"PYTHON_KINDS[{_literal(level.kind)}]" if level.kind in PYTHON_KINDS else name
    layer = _built(known, (level.input_size, level.output_size), constructor_arguments(level, body))
    if level.surprise is None:
        return layer
    arguments = plastic_arguments(level)
    program, parent = arguments.pop("program"), level.surprise.parent
    more = f", program={programs[program]}" if program is not None else ""
    more += f", parent=self.{_checked(parent)}" if parent else ""
    return f"{_built('Plastic', (layer,), arguments)[:-1]}{more})"


def _built(name: str, places: Iterable[object], arguments: Mapping[str, object]) -> str:
    given = [str(one) for one in places]
    given += [f"{_checked(key)}={_literal(value)}" for key, value in arguments.items()]
    return f"{name}({', '.join(given)})"


def _copies(block: BlockPlan, classes: Mapping[str, str]) -> str:
    built = [f"{classes[name]}()" for name in block.bodies]
    if not block.repeated:
        return built[0]
    if len(set(built)) == 1 and len(built) > 1:
        return f"nn.ModuleList({built[0]} for _ in range({len(built)}))"
    return f"nn.ModuleList([{', '.join(built)}])"


def _member(member: int | None, key: str) -> str:
    return "" if member is None else f", {key}{member}"


def _operand(operand: lines.Operand) -> str:
    if isinstance(operand, str):
        return _checked(operand)
    return repr(operand) if operand >= 0 else f"({operand!r})"


def _literal(value: object) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _indented(some: Iterable[str], levels: int) -> list[str]:
    return ["    " * levels + line for line in some]


def _checked(name: str) -> str:
    """A name that is written as code. Plans that were read have been checked; this is asked of any."""
    try:
        return require_identifier(name, "this plan", free=False)
    except OddPlanError as error:
        raise fail("N0502", f"{error}, which no program gives", "compile the program again") from error
