"""The section of a level that learns `key -> value`: a memory in context, or attention."""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.diagnostics.quantities import as_written
from nestdsl.explain import attention, constants, deep, linear
from nestdsl.explain.association import Association, Factor, anchor_definition
from nestdsl.explain.flows import Names, taken_names
from nestdsl.explain.section import NEVER_RESET, Member, Row, Section, row
from nestdsl.explain.starts import start
from nestdsl.explain.words import parameters, state
from nestdsl.graph.nodes import EdgeType, Level, Read
from nestdsl.graph.order import describe_frequency
from nestdsl.plan.cost import memory_states
from nestdsl.plan.plan import OrderedLevel
from nestdsl.vocabulary.signatures import LIBRARY, Memory
from nestdsl.vocabulary.terms import Equation, Line, Number, Symbol, symbols
from nestdsl.vocabulary.timing import STOP, THROUGH, Gradient, Reset, Truncated

_OBJECTIVES = {
    "l2": "l2: half the squared error of its answer to the key",
    "dot": "dot: minus the inner product of its answer and the value",
}
_GRADIENTS = {
    THROUGH: "the outer levels differentiate through its updates",
    STOP: "what it writes is constant for the outer levels",
    Truncated(1): "the outer levels differentiate through its updates within one segment",
}


def section(names: Names, level: Level, ordered: OrderedLevel) -> Section:
    """Everything that a page says of one memory."""
    named = _Named(names, level)
    if LIBRARY.kinds[level.kind].is_nonparametric:
        return _attention(named, ordered)
    memory = named.association()
    arguments, (key_size, value_size) = dict(level.arguments), names.graph.level_sizes[level.id]
    is_network = LIBRARY.memory(level.kind) is Memory.NETWORK
    if is_network:
        activation, residual = str(arguments["activation"]), key_size == value_size
        update = deep.update(memory, activation, residual)
        read = deep.read(memory, activation, residual)
    else:
        activation, residual = "", False
        update, read = linear.update(memory), linear.read(memory)
    letter = memory.letter("W" if is_network else "S")
    if memory.peeked is not None:
        anchor = names.anchor_of(level, memory.anchor_tokens)
        read += deep.peek(memory, anchor, activation, residual) if is_network else linear.peek(memory, anchor)
    where = (*named.definitions, *_anchors((update, read, named.definitions), memory.anchor_tokens))
    rows = [
        row("memory", _shape(level, names.graph.level_sizes[level.id])),
        row("context flow", named.context()),
        row("objective", _OBJECTIVES.get(memory.objective, f"lp({memory.exponent:g}): {_lp(memory)}")),
        row("frequency", _frequency(level)),
        row("optimizer", named.optimizer()),
        row("gradient", _gradient(level.gradient)),
        *_sizes(ordered, memory_states(level, memory.peeked is not None)),
        row("start", start(level, residual, names.graph.train.optimizer.name, letter.name)),
        *([NEVER_RESET] if level.reset is Reset.NEVER else []),
    ]
    return _section(ordered, rows, update, read, where)


def _section(
    ordered: OrderedLevel,
    rows: list[Row],
    update: tuple[Equation, ...],
    read: tuple[Equation, ...],
    where: tuple[Equation, ...],
) -> Section:
    equations = (("update", update), ("read", read), ("where", where))
    return Section(
        ordered.rank,
        ordered.kind,
        (Member(ordered.name, ordered.copies),),
        tuple(rows),
        tuple((label, group) for label, group in equations if group),
    )


def _attention(named: _Named, ordered: OrderedLevel) -> Section:
    level = named.level
    arguments = dict(level.arguments)
    heads, reach = int(arguments["heads"] or 1), attention.Reach.of(arguments)
    key_size = named.names.graph.level_sizes[level.id][0] // heads
    read: tuple[Equation, ...] = ()
    for query, result in named.queries:
        read += attention.read(query, result, named.key, named.value, key_size, reach)
    weights = "persistent pairs" if reach.persistent else "no weights"
    lines: list[str | Line] = [f"the keys and values of {reach.tokens()}; {weights}; {_each_head(heads)}"]
    if reach.persistent:
        pair = (attention.PERSISTENT_KEY.at(attention.N), ", ", attention.PERSISTENT_VALUE.at(attention.N))
        lines.append((*pair, f": {reach.persistent} pairs that all tokens read, learned by the outer levels"))
    if reach.pairs > 1:
        lines.append(f"each token writes {reach.pairs} pairs: j counts the parts of its key and value")
    if reach.rotary:
        lines.append(("R_t turns feature pair j of a head by the angle t 10000^(−2j/", f"{key_size})"))
    rows = [
        row("memory", *lines),
        row("context flow", named.context()),
        row("objective", "softmax: the kernel regression of the values, recomputed at every token"),
        row("frequency", describe_frequency(level)),
        row("optimizer", "none: the solution is in closed form"),
        *_sizes(ordered, ("keys", "values")),
    ]
    return _section(ordered, rows, (), tuple(dict.fromkeys(read)), tuple(named.definitions))


def _sizes(ordered: OrderedLevel, parts: tuple[str, ...]) -> tuple[Row, Row]:
    return row("state", state(ordered, parts)), row("parameters", parameters(ordered))


def _anchors(equations: tuple[tuple[Equation, ...], ...], own_tokens: int) -> tuple[Equation, ...]:
    """What ξ is, for each chunk length that the equations name."""
    anchors = dict.fromkeys(symbol for symbol in symbols(equations) if symbol.name == "ξ")
    return tuple(anchor_definition(symbol, own_tokens) for symbol in anchors)


@dataclass(frozen=True, slots=True)
class _Part:
    id: str
    symbol: Symbol


class _Named:
    """One memory with the names of all flows that it learns from, is driven by and read with."""

    def __init__(self, names: Names, level: Level) -> None:
        self.names, self.level = names, level
        graph = names.graph
        self._own_tokens = level.period if level.period > 1 else level.chunk
        sources = {"k": graph.source(level.id, EdgeType.KEY), "v": graph.source(level.id, EdgeType.VALUE)}
        flows = dict(level.optimizer.flows) if level.optimizer else {}
        reads = graph.reads_of(level.id)
        self._reads = [one for one in reads if one.id not in names.anchored]
        self._parts: dict[str, _Part] = {}
        for fallback, id in (*sources.items(), *flows.items()):
            assert id is not None
            self._add(fallback, id)
        self.queries = tuple(
            dict.fromkeys(self._query(number, one) for number, one in enumerate(self._reads))
        )
        found = (
            names.definition(part.id, part.symbol, self._own_tokens)
            for part in dict.fromkeys(self._parts.values())
        )
        named = tuple(dict.fromkeys(one for one in found if one is not None))
        self.definitions = (*named, *constants.definitions(named))
        self.is_peeked = len(self._reads) < len(reads)

    @property
    def key(self) -> Symbol:
        return self._parts["k"].symbol

    @property
    def value(self) -> Symbol:
        return self._parts["v"].symbol

    def association(self) -> Association:
        level = self.level
        used = taken_names([*symbols(self.definitions), *(part.symbol for part in self._parts.values())])
        return Association(
            key=self.key,
            value=self.value,
            step=self._factor("step", 1.0),
            retain=self._factor("retain", 1.0),
            momentum=self._factor("momentum", 0.9),
            rule=level.rule_in_context,
            objective=level.objective or "l2",
            exponent=level.exponent,
            toward_init=bool(level.optimizer) and dict(level.optimizer.arguments).get("toward") == "init",
            period=level.period,
            chunk=level.chunk,
            read=level.read,
            queries=self.queries,
            peeked=Symbol(level.name) if self.is_peeked else None,
            retain_per_channel=self._is_per_channel(),
            forget_first=level.forgets_first,
            used=used | {result.name for _, result in self.queries},
        )

    def context(self) -> Line:
        """`k → v, read with q`."""
        queries = [query.name for query in dict.fromkeys(query for query, _ in self.queries)]
        read = f", read with {', '.join(queries)}" if queries else ""
        return (self.key, " → ", self.value, read)

    def optimizer(self) -> str:
        """`dgd(step = rate, retain = 0.9)`, flows by name."""
        use = self.level.optimizer
        if use is None:
            return "gd(step = 1, retain = 1)"
        numbers = {name: as_written(one) for name, one in use.arguments if one is not None}
        flows = {name: f"flow {self._parts[name].symbol.name}" for name, _ in use.flows}
        if self._is_per_channel():
            flows["retain"] += " for each channel of the key"
        order = [spec.name for spec in LIBRARY.optimizers[use.name].arguments]
        given = numbers | flows
        return f"{use.name}({', '.join(f'{name} = {given[name]}' for name in order if name in given)})"

    def _is_per_channel(self) -> bool:
        retain = self._parts.get("retain")
        heads = int(dict(self.level.arguments)["heads"] or 1)
        return retain is not None and self.names.graph.sizes[retain.id] not in (1, heads)

    def _add(self, fallback: str, id: str) -> Symbol:
        taken = {part.symbol.name for part in self._parts.values() if part.id != id}
        long = {"k": "key", "v": "value", "q": "query"}.get(fallback, fallback)
        symbol = self.names.symbol(id, long if fallback in taken else fallback)
        self._parts[fallback] = _Part(id, symbol)
        return symbol

    def _query(self, number: int, read: Read) -> tuple[Symbol, Symbol]:
        fallback = "q" if number == 0 else f"q{number + 1}"
        result = "y" if number == 0 else f"y{number + 1}"
        query = self._add(fallback, read.operand)
        return query, self.names.result(read, result)

    def _factor(self, name: str, default: float) -> Factor:
        if name in self._parts:
            return self._parts[name].symbol
        found = dict(self.level.optimizer.arguments).get(name) if self.level.optimizer else None
        return Number(found if isinstance(found, int | float) else default)


def _gradient(gradient: Gradient) -> str:
    words = _GRADIENTS.get(gradient)
    if words is None and isinstance(gradient, Truncated):
        words = f"the outer levels differentiate through what the last {gradient.last} segments did"
    return f"{gradient}: {words}"


def _lp(memory: Association) -> str:
    p = f"{memory.exponent:g}"
    return "the sum over features of |error|" + (f"^{p} / {p}" if p != "1" else "")


def _frequency(level: Level) -> str:
    every = describe_frequency(level)
    return f"{every}, in chunks of {level.chunk} tokens" if level.chunk > 1 and level.period == 1 else every


def _each_head(heads: int) -> str:
    return "one head" if heads == 1 else f"each of {heads} heads by itself"


def _shape(level: Level, sizes: tuple[int, int]) -> str:
    """`4 matrices 16 × 16, one for each head`."""
    arguments = dict(level.arguments)
    heads = int(arguments["heads"] or 1)
    key, made = sizes[0] // heads, sizes[1] // heads
    each = ", for each head by itself" if heads > 1 else ""
    if LIBRARY.memory(level.kind) is Memory.NETWORK:
        hidden = int(arguments["hidden"] or key)
        residual = "z + " if key == made else ""
        many = f"{heads} times " if heads > 1 else ""
        layers = f"two layers, M(z) = {residual}W_1 {arguments['activation']}(W_2 z)"
        return f"{many}{layers}: W_2 {hidden} × {key}, W_1 {made} × {hidden}{each}"
    return f"{heads} matrices {key} × {made}{each}" if heads > 1 else f"1 matrix {key} × {made}"
