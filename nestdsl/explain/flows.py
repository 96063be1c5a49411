"""The program's own names for flows, and what each of them is, as terms."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nestdsl.explain.association import anchor
from nestdsl.explain.constants import spread
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Flow, Input, Level, Operation, Read
from nestdsl.graph.self_reference import anchored_reads
from nestdsl.vocabulary.signatures import LIBRARY, Value
from nestdsl.vocabulary.terms import (
    Apply,
    Equation,
    Hadamard,
    Negative,
    Number,
    Power,
    Ratio,
    Symbol,
    T,
    Term,
    minus,
    plus,
    times,
)

_DEPTH = 40
"""So many stages of an unnamed flow are written out."""


class Names:
    """What flows are called; unnamed ones get the name of their part in the level."""

    def __init__(self, graph: NestGraph) -> None:
        self.graph = graph
        self.anchored = anchored_reads(graph)
        self._chunks: dict[str, int] = {}
        for id in self.anchored:
            level = graph.level(_read(graph, id).level)
            self._chunks[level.scope] = min(level.chunk, self._chunks.get(level.scope, level.chunk))

    def symbol(self, id: str, fallback: str) -> Symbol:
        """The name of a flow as one level sees it."""
        match node := self.graph[id]:
            case Input():
                return Symbol("in")
            case Flow():
                return Symbol(self._flow_name(node))
            case Read() if id in self.anchored and isinstance(self.graph[node.operand], Flow | Input):
                return Symbol(self.symbol(node.operand, fallback).name, mark="hat")
        return Symbol(fallback)

    def definition(self, id: str, symbol: Symbol, own_tokens: int) -> Equation | None:
        """What a flow is: its name and the functions, levels and flows that make it.

        None for the input and for what a block is given or makes.
        """
        node = self.graph[id]
        if isinstance(node, Input):
            return None
        source = id
        if isinstance(node, Flow):
            found = self.graph.source(id, EdgeType.READ)
            if node.name == "in" or found is None or isinstance(self.graph[found], Flow | Input):
                return None
            source = found
        term = self.expression(source, own_tokens)
        return None if term == symbol.at(T) else Equation(symbol.at(T), term)

    def expression(self, id: str, own_tokens: int, at_token: bool = True, depth: int = _DEPTH) -> Term:
        """A node as a term of token t, or of whole flows; `…` for what lies more than `depth` stages back."""
        node = self.graph[id]
        if depth <= 0 and not isinstance(node, Input | Flow):
            return Symbol("…")
        match node:
            case Flow() if (numbers := self._numbers(id)) is not None:
                return numbers
            case Input() | Flow():
                name = self.symbol(id, "")
                return name.at(T) if at_token else name
            case Operation():
                operands = tuple(
                    self.expression(one, own_tokens, at_token, depth - 1)
                    if isinstance(one, str)
                    else Number(one)
                    for one in node.operands
                )
                return _operation(node, operands)
            case Read():
                return self._read(node, own_tokens, at_token, depth - 1)
        raise ValueError(f"{id} is no flow")

    def _numbers(self, id: str) -> Term | None:
        """The spread that a named flow is, if it is one: no section of a page says what such a flow is."""
        source = self.graph.source(id, EdgeType.READ)
        node = None if source is None else self.graph[source]
        is_spread = isinstance(node, Operation) and node.function == "spread"
        return spread(dict(node.options)) if isinstance(node, Operation) and is_spread else None

    def anchor_of(self, level: Level, own_tokens: int) -> Term:
        """Where the reads see a level on which its own next state depends."""
        tokens = self._chunks[level.scope] if level.period > 1 else level.chunk
        return anchor(tokens, own_tokens)

    def result(self, read: Read, fallback: str) -> Symbol:
        """The name of what a read makes: the flow that it is, if it is one."""
        for target in self.graph.targets(read.id, EdgeType.READ):
            flow = self.graph[target]
            if isinstance(flow, Flow) and flow.name != "in":
                return Symbol(self._flow_name(flow))
        return Symbol(fallback)

    def _flow_name(self, flow: Flow) -> str:
        if flow.name != "out" or not flow.scope:
            return flow.name.rpartition(".")[2]
        is_copy = self.graph.scopes[flow.scope].declared.endswith("[*]")
        return (re.sub(r"\[\d+\]$", "", flow.scope) if is_copy else flow.scope).rpartition(".")[2]

    def _read(self, read: Read, own_tokens: int, at_token: bool, depth: int) -> Term:
        level = self.graph.level(read.level)
        if read.id in self.anchored:
            name = Symbol(level.name).at(self.anchor_of(level, own_tokens))
            return Apply(name, (self.expression(read.operand, own_tokens, depth=depth),))
        is_named = not level.name.rpartition(f".{level.kind}")[0]
        name = Symbol(level.name.rpartition(".")[2] if is_named else level.kind)
        options = _options(dict(level.arguments), level.kind) if not is_named else ()
        kind = LIBRARY.kinds[level.kind]
        if level.in_context or kind.is_memory or kind.keeps_state(dict(level.arguments)):
            whole = self.expression(read.operand, own_tokens, at_token=False, depth=depth)
            return Apply(name, (whole,), options, T if at_token else None)
        return Apply(name, (self.expression(read.operand, own_tokens, at_token, depth),), options)


def taken_names(parts: Iterable[Symbol]) -> frozenset[str]:
    """The names that flows have, as letters for states must differ from them."""
    return frozenset(symbol.name for symbol in parts if not symbol.mark)


def _read(graph: NestGraph, id: str) -> Read:
    node = graph[id]
    assert isinstance(node, Read)
    return node


def _options(arguments: dict[str, Value], kind: str) -> tuple[tuple[str, Number | Symbol], ...]:
    """The arguments of a kind that are not its defaults."""
    specs = {spec.name: spec.default for spec in LIBRARY.kinds[kind].arguments}
    return tuple(
        (name, _value(value))
        for name, value in arguments.items()
        if value is not None and value != specs[name]
    )


def _value(value: Value) -> Number | Symbol:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Symbol(str(value).lower() if isinstance(value, bool) else str(value))
    return Number(value)


def _operation(node: Operation, operands: tuple[Term, ...]) -> Term:
    match node.function, operands:
        case "constant", (value,):
            return value
        case "spread", ():
            return spread(dict(node.options))
        case "add", (left, right):
            return plus(left, right)
        case "subtract", (left, right):
            return minus(left, right)
        case "negate", (value,):
            return Negative(value)
        case "multiply", (left, right):
            is_scaled = isinstance(left, Number) or isinstance(right, Number)
            return times(left, right) if is_scaled else Hadamard((left, right))
        case "divide", (left, right):
            return Ratio(left, right)
        case "power", (left, right):
            return Power(left, right)
    function = LIBRARY.functions.get(node.function)
    defaults = {spec.name: spec.default for spec in function.arguments} if function else {}
    options = tuple(
        (name, _value(value))
        for name, value in node.options
        if name not in defaults or value != defaults[name]
    )
    return Apply(Symbol(node.function), operands, options)
