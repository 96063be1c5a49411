"""What the memories of an optimizer learn, as its program would say it."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

from nestdsl.graph.optimizer import Line, Operand, OptimizerProgram
from nestdsl.vocabulary.functions import PRECISION
from nestdsl.vocabulary.signatures import LIBRARY, Value

_SIGNS = {"add": ("+", 1), "subtract": ("-", 1), "multiply": ("*", 2), "divide": ("/", 2), "power": ("**", 4)}
"""The sign of each operation, and how tightly it binds."""
_MINUS, _ATOM = 3, 5


_LONGEST = 80
"""Characters of the words for a result; of a longer one its beginning, and a sum of all of it."""


def words_of(program: OptimizerProgram, result: str) -> str:
    """What a result is, as its program would say it: `normalize(debias(far))`.

    Without the precision of its products, which the machine may choose: it is the same thing in either.
    """
    lines = {
        line.result: replace(line, options=tuple(one for one in line.options if one[0] != PRECISION))
        for line in program.lines
        if line.function != "learn"
    }
    text, _ = _text(result, lines, {})
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}… {sha256(text.encode()).hexdigest()[:8]}"


def learned(program: OptimizerProgram, memory: str) -> str:
    """`grad * grad`, or for a memory with keys `normalize(grad) -> -norm(grad) / step`; flows by name."""
    (learn,) = (line for line in program.lines if line.result == memory and line.function == "learn")
    lines = {line.result: line for line in program.lines if line.function != "learn"}
    flows = named_flows(program)
    return " -> ".join(_text(operand, lines, flows)[0] for operand in learn.operands)


def named_flows(program: OptimizerProgram) -> dict[str, str]:
    """The results that are whole flows of the program, with their names: the last line of each flow.

    The lines of a flow are numbered after it; those of clauses and arguments have a name with a dot.
    """
    last: dict[str, str] = {}
    for line in program.lines:
        flow, _, _ = line.result.rpartition(".")
        if line.function != "learn" and flow and "." not in flow:
            last[flow] = line.result
    last.pop("update", None)
    return {result: flow for flow, result in last.items() if result != program.update}


def _text(operand: Operand, lines: dict[str, Line], flows: dict[str, str]) -> tuple[str, int]:
    """The words of an operand, and how tightly they bind."""
    if not isinstance(operand, str):
        return f"{operand:.12g}", _ATOM if operand >= 0 else _MINUS
    if operand in flows or operand not in lines:
        return flows.get(operand, operand), _ATOM
    line = lines[operand]
    if line.function == "debias":
        return f"debias({line.operands[0]})", _ATOM
    parts = [_text(one, lines, flows) for one in line.operands]
    if line.function == "negate":
        return f"-{_bound(parts[0], _MINUS)}", _MINUS
    if line.function in _SIGNS:
        sign, strength = _SIGNS[line.function]
        # Equal operations are read from the left, powers from the right.
        left, right = (strength + 1, _MINUS) if sign == "**" else (strength, strength + 1)
        return f"{_bound(parts[0], left)} {sign} {_bound(parts[1], right)}", strength
    words = [text for text, _ in parts]
    if line.function == "answer":
        return f"{words[0]}({words[1]})", _ATOM
    defaults = {spec.name: spec.default for spec in LIBRARY.functions[line.function].arguments}
    words += [f"{name} = {_value(value)}" for name, value in line.options if value != defaults[name]]
    return f"{line.function}({', '.join(words)})", _ATOM


def _bound(part: tuple[str, int], strength: int) -> str:
    text, own = part
    return text if own >= strength else f"({text})"


def _value(value: Value) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
