"""Which lines of a plan drive memories: those from which step, retain and momentum come, in float32 at least.

A retention near 1 is what bfloat16 cannot hold: of sigmoid(x + 4) three quarters are exactly 1, without a
gradient. So from the last level that is read on, what becomes an argument of a memory's optimizer is computed
in float32 at least, whatever precision the model has and whatever autocast rounds. What other lines see of it
is rounded as before. In float32 and float64 nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from nestdsl.plan.instructions import Call, Cast, Instruction, Learn, Operand, Read, Round, operands, renamed
from nestdsl.plan.names import Names
from nestdsl.plan.plan import Body, Plan
from nestdsl.runtime.kinds import LAYERS

_PRECISE = frozenset(name for name, module in LAYERS.items() if getattr(module, "keeps_precision", False))
"""Kinds that compute in their input's precision where that is higher than their weights'."""


def with_precise_arguments(plan: Plan) -> Plan:
    """The same plan, for the runtime alone: with casts, and with reads and constants that are `precise`."""
    return replace(plan, bodies=tuple(_rewritten(body) for body in plan.bodies))


def driving(body: Body) -> frozenset[str]:
    """The variables that drive memories: arguments of `learn`, and back through functions to the last read
    of a level, included where it is one of a kind that can be read in float32."""
    layers = {
        level.attribute
        for level in body.levels
        if level.kind in _PRECISE and not level.association and level.surprise is None
    }
    makers = {line.result: line for line in body.lines}
    learns = [line for line in body.lines if isinstance(line, Learn)]
    waiting = [value for line in learns for _, value in line.factors if isinstance(value, str)]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        line = makers.get(name)
        if line is None or name in found:
            continue
        if isinstance(line, Call):
            waiting += operands(line)
        elif not isinstance(line, Read) or line.level not in layers:
            continue
        found.add(name)
    return frozenset(found)


def _rewritten(body: Body) -> Body:
    drives = driving(body)
    if not drives:
        return body
    writer = _Writer(body, drives)
    return replace(
        body,
        instructions=tuple(writer.rewritten(body.instructions)),
        loop=tuple(writer.rewritten(body.loop)),
        after=tuple(writer.rewritten(body.after)),
    )


class _Writer:
    """Rewrites the lines of one body, in order."""

    def __init__(self, body: Body, drives: frozenset[str]) -> None:
        self.drives = drives
        self.names = Names({name for line in body.lines for name in (line.result, *operands(line))})
        seen = {name for line in body.lines for name in _seen_by(line, drives)} | {body.output}
        self.seen = _with_numbers(body.lines, seen)
        """What lines that drive nothing see."""
        self.exact: dict[str, str] = {}
        """Under which name each variable that drives is there in float32."""
        self.like: dict[str, str | None] = {}
        """The flow whose precision it has for all other lines; None if it is made of numbers alone."""

    def rewritten(self, lines: Iterable[Instruction]) -> Iterator[Instruction]:
        for line in lines:
            if line.result in self.drives:
                yield from self._driving(line)
            elif isinstance(line, Learn):
                yield replace(line, factors=tuple((name, self._exact(value)) for name, value in line.factors))
            else:
                yield line

    def _driving(self, line: Instruction) -> Iterator[Instruction]:
        assert isinstance(line, Call | Read)
        flows = tuple(operands(line))
        known = (self._like(flow) for flow in flows)
        like = self.like[line.result] = next((one for one in known if one is not None), None)
        is_seen = line.result in self.seen
        exact = self.names.new(f"{line.result}_exact") if is_seen else line.result
        self.exact[line.result] = exact
        if isinstance(line, Read) or not flows:
            yield replace(line, result=exact, precise=True)
        else:
            casts: dict[str, str] = {}
            for name in dict.fromkeys(flows):
                if name not in self.drives:
                    casts[name] = self.names.new(f"{name}_1")
                    yield Cast(casts[name], name)
            yield renamed(
                replace(line, result=exact), lambda name: casts.get(name, self.exact.get(name, name))
            )
        if is_seen:
            yield line if like is None else Round(line.result, exact, like)

    def _exact(self, value: Operand) -> Operand:
        return self.exact.get(value, value) if isinstance(value, str) else value

    def _like(self, name: str) -> str | None:
        return self.like.get(name) if name in self.drives else name


def _with_numbers(lines: Sequence[Instruction], seen: set[str]) -> set[str]:
    """What is seen, and of what is made of numbers alone all that it is made of: it is made once more, in the
    precision of the model."""
    numbers: set[str] = set()
    for line in lines:
        if isinstance(line, Call) and numbers.issuperset(operands(line)):
            numbers.add(line.result)
    found = set(seen)
    for line in reversed(lines):
        if line.result in found & numbers:
            found.update(operands(line))
    return found


def _seen_by(line: Instruction, drives: frozenset[str]) -> Iterable[str]:
    """What a line that drives nothing reads, but for what it is driven by."""
    if line.result in drives:
        return ()
    return (line.key, *line.values) if isinstance(line, Learn) else operands(line)
