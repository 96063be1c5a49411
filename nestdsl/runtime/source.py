"""Writes the Python source of a plan: what `--emit python` shows is what the runtime runs.

Every body becomes one class. Names come from the plan, which may come from a file, so each is
checked before it is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from nestdsl.diagnostics import fail
from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.library.extension import PYTHON_FUNCTIONS, PYTHON_KINDS
from nestdsl.library.starts import LEARNED
from nestdsl.plan.names import Names
from nestdsl.plan.plan import BlockPlan, Body, Instruction, LevelPlan, Pairs, Plan, SharedPlan
from nestdsl.plan.sharing import ONE_PRODUCT, SIDE_BY_SIDE
from nestdsl.plan.stages import names_in
from nestdsl.plan.starts import is_trained, number_of, without_start, word_of
from nestdsl.plan.wellformed import OddPlanError, require_identifier
from nestdsl.runtime.arguments import CAST, PRECISE, ROUND, with_precise_arguments
from nestdsl.runtime.functions import FUNCTIONS
from nestdsl.runtime.kinds import LAYERS, MEMORIES
from nestdsl.runtime.pieces import Piece, caches, cut, cycle_tokens, staged_bodies
from nestdsl.runtime.program_source import IMPORT, program_names, program_source

_INFIX = {"add": ("+", 1), "subtract": ("-", 1), "multiply": ("*", 2), "divide": ("/", 2), "power": ("**", 4)}
_ATOM = 9
_AFTER_TORCH = 6
"""The line of the header where imports of our own begin."""
_INLINE_WIDTH = 72
_ANONYMOUS = re.compile(r".*_\d+\Z")


def python_source(plan: Plan) -> str:
    """The source of a module with one class for each body; the last, `Model`, is the whole."""
    plan = with_precise_arguments(plan)
    classes = _class_names(plan)
    parts = [_header(plan), *(_class(body, plan, classes) for body in plan.bodies)]
    return "\n\n\n".join(parts) + "\n"


def _class_names(plan: Plan) -> dict[str, str]:
    names: dict[str, str] = {}
    classes = Names(["Model"])
    for body in plan.bodies:
        name = "".join(part.capitalize() for part in _checked(body.name).split("_"))
        names[body.name] = "Model" if body is plan.root else classes.new(f"{name}Block")
    return names


def _header(plan: Plan) -> str:
    memories = {
        MEMORIES[level.kind].__name__ for body in plan.bodies for level in body.levels if _remembers(level)
    }
    layers = {
        LAYERS[level.kind].__name__
        for body in plan.bodies
        for level in body.levels
        if not _remembers(level) and level.kind in LAYERS
    }
    starts = {"Start" for body in plan.bodies for level in body.levels if word_of(level) != LEARNED}
    together = {"SideBySide" for body in plan.bodies for shared in body.shared if shared.form == SIDE_BY_SIDE}
    used = sorted(memories | layers | together | starts)
    lines = [
        f'"""{_checked(plan.model)}: written by nestdsl from its plan."""',
        "",
        "from types import SimpleNamespace",
        "",
        "from torch import nn",
        "",
        "from nestdsl.library.extension import PYTHON_FUNCTIONS, PYTHON_KINDS",
        "from nestdsl.runtime.block import Block",
        "from nestdsl.runtime.functions import FUNCTIONS",
    ]
    if used:
        lines.append(f"from nestdsl.runtime.kinds import {', '.join(used)}")
    lines += ["from nestdsl.runtime.module import NestModule", "from nestdsl.runtime.precise import CASTS"]
    if any(level.surprise for body in plan.bodies for level in body.levels):
        lines.append("from nestdsl.runtime.surprise.plastic import Plastic")
    programs = program_names(plan)
    if programs:
        lines.insert(_AFTER_TORCH, IMPORT)
    lines += ["", "functions = SimpleNamespace(**FUNCTIONS, **CASTS)"]
    for program, name in programs.items():
        lines += ["", f"{name} = {program_source(program)}"]
    return "\n".join(lines)


def _class(body: Body, plan: Plan, classes: Mapping[str, str]) -> str:
    is_model = body is plan.root
    what = "model" if is_model else "block"
    together = [shared for shared in body.shared if shared.form == SIDE_BY_SIDE]
    stateful = [level.attribute for level in body.levels if level.stateful]
    stateful += [shared.attribute for shared in together]
    carried = [level.attribute for level in body.levels if level.stateful and level.carried]
    pieces = cut(body, staged_bodies(plan), caches(body, plan))
    programs = program_names(plan)
    products = [shared for shared in body.shared if shared.form == ONE_PRODUCT]
    stand_ins = {name for shared in products for name in (shared.attribute, shared.source)}
    lines = [
        f"class {classes[body.name]}({'NestModule' if is_model else 'Block'}):",
        f'    """{what} {_checked(body.block)}: {body.input_size} -> {body.output_size}"""',
        "",
        f"    stateful = {_tuple(stateful)}",
        f"    blocks = {_tuple([block.attribute for block in body.blocks])}",
        *([f"    carried = {_tuple(carried)}"] if carried else []),
        *(f"    {line}" for line in _attributes(body, pieces)),
        "",
        "    def __init__(self):",
        "        super().__init__()",
        *(
            f"        self.{_checked(level.attribute)} = "
            + _construct(level, programs, draws=level.attribute not in stand_ins)
            for level in _parents_first(body)
        ),
        *(
            f"        self.{_checked(shared.attribute)} = SideBySide({_members(shared)})"
            for shared in together
        ),
        *(f"        self.{_checked(block.attribute)} = {_copies(block, classes)}" for block in body.blocks),
        "",
        "    def body(self, in_, state, run):",
        "        next_state = {}",
    ]
    if len(pieces) == 1 and pieces[0].method and not body.loop:
        lines += [f"        {line}" for line in _Lines(body, pieces[0]).lines()]
        lines.append(f"        return {_checked(body.output)}, next_state")
        return "\n".join(lines)
    for piece in pieces:
        lines += [f"        {line}" for line in _call(body, piece)]
    lines.append(f"        return {_checked(body.output)}, next_state")
    for piece in pieces:
        if piece.method:
            lines += ["", *(f"    {line}" if line else "" for line in _method(body, piece))]
    return "\n".join(lines)


def _parents_first(body: Body) -> list[LevelPlan]:
    """The levels of a body, each after the one that it starts from."""
    by_attribute = {level.attribute: level for level in body.levels}
    ordered: dict[str, LevelPlan] = {}

    def add(level: LevelPlan, waiting: tuple[str, ...]) -> None:
        parent = level.surprise.parent if level.surprise else ""
        if parent in waiting or (parent and parent not in by_attribute):
            raise fail(
                "N0502", f"this plan has no level `{parent}` to start from", "compile the program again"
            )
        if parent and parent not in ordered:
            add(by_attribute[parent], (*waiting, parent))
        ordered.setdefault(level.attribute, level)

    for level in body.levels:
        add(level, (level.attribute,))
    return list(ordered.values())


def _attributes(body: Body, pieces: tuple[Piece, ...]) -> Iterator[str]:
    """What a class says of its parts, if it has any."""
    if len(pieces) == 1 and pieces[0].method and not body.loop:
        return
    methods = [piece for piece in pieces if piece.method]
    needed = ", ".join(f"{_literal(piece.method)}: {_tuple(piece.stateful)}" for piece in methods)
    yield f"parts = {{{needed}}}"
    yield f"units = {_tuple([piece.method for piece in methods if piece.is_unit])}"
    if body.chunk_tokens:
        yield f"chunk_tokens = {body.chunk_tokens}"
        yield f"cycle_tokens = {cycle_tokens(body)}"


def _call(body: Body, piece: Piece) -> Iterator[str]:
    """The lines of `body` that run a piece."""
    if not piece.method:
        yield from _Lines(body, piece).lines()
        return
    how = "loop" if piece.is_loop else "part"
    arguments = ", ".join(["self", _literal(piece.method), "state", "next_state", *piece.takes])
    made = "".join(f"{name}, " for name in piece.gives).rstrip()
    yield f"{made} = run.{how}({arguments})" if made else f"run.{how}({arguments})"


def _method(body: Body, piece: Piece) -> Iterator[str]:
    """A part as a method."""
    known = ["aligned"] if piece.is_loop else []
    yield f"def {piece.method}({', '.join(['self', *piece.takes, 'state', 'run', *known])}):"
    yield "    next_state = {}"
    yield from (f"    {line}" for line in _Lines(body, piece).lines())
    yield f"    return ({''.join(f'{name}, ' for name in piece.gives).rstrip()}), next_state"


def _members(shared: SharedPlan) -> str:
    return ", ".join(f"self.{_checked(name)}" for name in shared.members)


def _tuple(names: Iterable[str]) -> str:
    return "(" + "".join(f"{_literal(_checked(name))}, " for name in names).rstrip() + ")"


def _literal(value: object) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _construct(level: LevelPlan, programs: Mapping[OptimizerProgram, str], *, draws: bool) -> str:
    """draws: whether its start takes random numbers, as that of a memory that stands for others does not."""
    arguments = [str(level.input_size), str(level.output_size)]
    known = dict(level.arguments) | dict(without_start(level.options))
    if level.kind in PYTHON_KINDS:
        name = f"PYTHON_KINDS[{_literal(level.kind)}]"
    elif _remembers(level):
        name = MEMORIES[level.kind].__name__
    elif level.kind in LAYERS:
        name = LAYERS[level.kind].__name__
    else:
        raise fail(
            "N0502",
            f"this plan has a level of the kind `{level.kind}`, which is not known here",
            "declare the kind with `nestdsl.kind` before the plan is built",
        )
    if _remembers(level) and level.kind == "attention":
        del known["bias"]  # its projections have taken it
    arguments += [f"{_checked(key)}={_literal(value)}" for key, value in known.items()]
    if word_of(level) != LEARNED:
        arguments.append(f"init={_start(level, draws)}")
    layer = f"{name}({', '.join(arguments)})"
    if level.surprise is None:
        return layer
    optimizer = level.surprise.optimizer
    if optimizer.program is None:
        pairs = [f"{_literal(_checked(key))}: {_literal(value)}" for key, value in optimizer.arguments]
        moved = [f"arguments={{{', '.join(pairs)}}}"]
    else:
        reduce = dict(optimizer.arguments).get("reduce", "mean")
        moved = [
            f"arguments={{{_literal('reduce')}: {_literal(reduce)}}}",
            f"program={programs[optimizer.program]}",
            f"matrices={level.surprise.matrices}",
        ]
    options = (
        f"period={level.surprise.period_tokens}",
        *moved,
        f"gradient={_literal(level.surprise.gradient)}",
        *([f"parent=self.{_checked(level.surprise.parent)}"] if level.surprise.parent else []),
        *([f"reset={_literal(_checked(level.surprise.reset))}"] if level.surprise.reset != "context" else []),
    )
    return f"Plastic({', '.join((layer, *options))})"


def _start(level: LevelPlan, draws: bool) -> str:
    """How a level starts that says it."""
    number = number_of(level)
    given = [_literal(word_of(level))]
    given += [] if number is None else [repr(number)]
    given += ["trained=True"] if level.association and is_trained(level) else []
    given += [] if draws else ["draws=False"]
    return f"Start({', '.join(given)})"


def _copies(block: BlockPlan, classes: Mapping[str, str]) -> str:
    built = [f"{classes[name]}()" for name in block.bodies]
    if not block.repeated:
        return built[0]
    if len(set(built)) == 1 and len(built) > 1:
        return f"nn.ModuleList({built[0]} for _ in range({len(built)}))"
    return f"nn.ModuleList([{', '.join(built)}])"


def _remembers(level: LevelPlan) -> bool:
    return level.association and level.kind in MEMORIES


def _checked(name: str) -> str:
    """A name that is written as code. Plans that were read have been checked; this is asked of any."""
    try:
        return require_identifier(name, "this plan", free=False)
    except OddPlanError as error:
        raise fail("N0502", f"{error}, which no program gives", "compile the program again") from error


class _Lines:
    """The lines of one body. A value that is used once is written where it is used."""

    def __init__(self, body: Body, piece: Piece) -> None:
        self.instructions = piece.lines
        self.is_loop = piece.is_loop
        self.levels = {level.attribute: level for level in body.levels}
        self.together = {shared.attribute for shared in body.shared if shared.form == SIDE_BY_SIDE}
        self.blocks = {block.attribute: block for block in body.blocks}
        self.uses: dict[str, int] = dict.fromkeys(piece.gives, 2)
        for instruction in piece.lines:
            for operand in names_in(instruction):
                self.uses[operand] = self.uses.get(operand, 0) + 1
        self.text: dict[str, tuple[str, int]] = {}

    def lines(self) -> Iterator[str]:
        for instruction in self.instructions:
            yield from self._line(instruction)

    def _line(self, instruction: Instruction) -> Iterator[str]:
        result, operands = _checked(instruction.result), [self._operand(one) for one in instruction.operands]
        if instruction.operation in (CAST, ROUND):
            name = "float32" if instruction.operation == CAST else "rounded"
            yield from self._value(result, f"functions.{name}({', '.join(operands)})", _ATOM)
            return
        target = _checked(instruction.target)
        quoted = _literal(target)
        match instruction.operation:
            case "function":
                yield from self._value(result, *self._function(target, operands, instruction.keywords))
            case "start":
                yield from self._value(result, f"self.{target}.start({operands[0]})", _ATOM)
            case "columns":
                yield from self._value(result, f"self.{target}.columns({', '.join(operands)})", _ATOM)
            case "recall":
                yield from self._value(result, f"self.{target}.read({', '.join(operands)})", _ATOM)
            case "peek":
                call = f"self.{target}.peek(state[{quoted}], {', '.join(operands)}, aligned=aligned)"
                yield from self._value(result, call, _ATOM)
            case "read" if self.levels[target].stateful:
                call = f"self.{target}({operands[0]}, state[{quoted}])"
                yield f"{result}, next_state[{quoted}] = {call}"
            case "read" if instruction.keywords == PRECISE:
                yield from self._value(result, f"functions.precise(self.{target}, {operands[0]})", _ATOM)
            case "read":
                yield from self._value(result, f"self.{target}({operands[0]})", _ATOM)
            case "learn":
                if target in self.together:
                    operands = [operands[0], f"({', '.join(operands[1:])})"]
                arguments = [*operands, f"state[{quoted}]"]
                arguments += [
                    f"{_checked(name)}={self._keyword(value)}" for name, value in instruction.keywords
                ]
                if self.is_loop and (target in self.together or self.levels[target].kind != "attention"):
                    arguments += ["aligned=aligned", "within=True"]
                yield f"{result}, next_state[{quoted}] = self.{target}.learn({', '.join(arguments)})"
            case "block":
                method = "copies" if self.blocks[target].repeated else "block"
                call = f"run.{method}(self.{target}, {operands[0]}, state[{quoted}])"
                yield f"{result}, next_state[{quoted}] = {call}"
            case operation:
                raise fail(
                    "N0502", f"this plan has the unknown operation {operation!r}", "compile the program again"
                )

    def _value(self, result: str, text: str, strength: int) -> Iterator[str]:
        is_short = len(text) <= _INLINE_WIDTH
        if is_short and self.uses.get(result) == 1 and _ANONYMOUS.match(result):
            self.text[result] = (text, strength)
        else:
            yield f"{result} = {text}"

    def _operand(self, operand: str | int | float, at_least: int = 0) -> str:
        if not isinstance(operand, str):
            return repr(operand) if operand >= 0 else f"({operand!r})"
        text, strength = self.text.get(operand, (_checked(operand), _ATOM))
        return text if strength >= at_least else f"({text})"

    def _keyword(self, value: object) -> str:
        return self._operand(value) if isinstance(value, str) else _literal(value)

    def _function(self, name: str, operands: list[str], options: Pairs) -> tuple[str, int]:
        if name in _INFIX:
            sign, strength = _INFIX[name]
            left, right = (self._protected(operand, strength, side) for side, operand in enumerate(operands))
            return f"{left} {sign} {right}", strength
        if name == "negate":
            return f"-{self._protected(operands[0], 3, 1)}", 3
        is_precise = options[-1:] == PRECISE
        options = options[:-1] if is_precise else options
        beside = "self.precision_beside(in_)"
        if is_precise:
            beside = f"functions.precision({beside})"
        if name == "constant":
            return f"functions.constant({operands[0]}, in_, {beside})", _ATOM
        if not operands:  # a function of numbers alone, at every token of what enters
            operands = ["in_", beside]
        arguments = operands + [f"{_checked(key)}={_literal(value)}" for key, value in options]
        if name == "dropout":
            arguments.append("training=self.training")
        if name in PYTHON_FUNCTIONS:
            return f"PYTHON_FUNCTIONS[{_literal(name)}]({', '.join(arguments)})", _ATOM
        if name not in FUNCTIONS:
            raise fail(
                "N0502",
                f"this plan has the function `{name}`, which is not known here",
                "declare the function with `nestdsl.function` before the plan is built",
            )
        return f"functions.{name}({', '.join(arguments)})", _ATOM

    def _protected(self, text: str, strength: int, side: int) -> str:
        """An operand in parentheses where Python would otherwise read it differently."""
        known = next((found for found in self.text.values() if found[0] == text), None)
        if known is None or known[1] > strength or (known[1] == strength and side == 0 and strength != 4):
            return text
        return f"({text})"
