"""Lowers the scopes of a graph to bodies: straight lines of instructions, each distinct one once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import networkx

from nestdsl.graph.matrices import weights_of
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Flow, Learning, Level, Operation, Read, Scope
from nestdsl.graph.self_reference import anchored_reads, self_referential_levels, without_anchored_reads
from nestdsl.graph.streams import is_carried
from nestdsl.plan.collapse import collapse
from nestdsl.plan.instructions import (
    Call,
    Instruction,
    Learn,
    Operand,
    Peek,
    Recall,
    RunBlock,
)
from nestdsl.plan.instructions import Read as ReadLevel
from nestdsl.plan.names import Names
from nestdsl.plan.plan import BlockPlan, Body, LevelPlan, OptimizerPlan, Sharing, SurprisePlan
from nestdsl.plan.rewrite import once
from nestdsl.plan.sharing import Lowered, share
from nestdsl.plan.stages import stages
from nestdsl.plan.starts import start_options
from nestdsl.vocabulary.signatures import LIBRARY, Memory, Value
from nestdsl.vocabulary.timing import STOP, THROUGH

_RUN_EDGES = frozenset((EdgeType.READ, EdgeType.KEY, EdgeType.VALUE, EdgeType.GENERATE))


class BodyLowering:
    """Builds the bodies of one graph; afterwards `modules` holds the path of every level, and `collapsed`
    for each level whose state a running product took over the sizes of the memory that it stands for, or
    None.

    sharing: memories that can work as one do.
    """

    def __init__(self, graph: NestGraph, sharing: bool = True) -> None:
        self.graph = graph
        self.sharing = sharing
        self.collapsed: dict[str, tuple[int, int] | None] = {}
        self._anchored = anchored_reads(graph)
        self._self_referential = self_referential_levels(graph, self._anchored)
        self.bodies: dict[Body, str] = {}
        self.modules: dict[str, str] = {}
        self._body_names = Names()
        self._blocks_in: dict[str, list[_Copies]] = defaultdict(list)
        self._levels_in: dict[str, list[Level]] = defaultdict(list)
        self._order_in: dict[str, list[str]] = defaultdict(list)
        for level in graph.levels():
            if not level.owner:
                self._levels_in[level.scope].append(level)
        exits: dict[str, str] = {}
        for copies in _groups(graph):
            self._blocks_in[copies.parent].append(copies)
            exits[copies.exit] = copies.parent
        for id in _run_order(graph, self._anchored):
            node = graph[id]
            if isinstance(node, Flow | Operation | Read) or (isinstance(node, Level) and not node.owner):
                self._order_in[node.scope].append(id)
            if id in exits:
                self._order_in[exits[id]].append(id)

    def run(self) -> tuple[Body, ...]:
        """All distinct bodies, parts before wholes; the model is the last."""
        self._body(self.graph.scopes[""], "")
        return tuple(replace(body, name=name) for body, name in self.bodies.items())

    def _body(self, scope: Scope, path: str) -> str:
        """Lowers one scope; gives back the name of its body."""
        attributes = Names()
        levels = self._levels(scope, path, attributes)
        blocks = {copies.exit: self._block(copies, path, attributes) for copies in self._blocks_in[scope.id]}
        lines = _Lines(self.graph, scope, levels, blocks, self._anchored)
        instructions = tuple(lines.lower(self._order_in[scope.id]))
        prefix = f"{scope.id}." if scope.id else ""
        lowered = Lowered(
            {plan.attribute: plan for plan in levels.values()}, instructions, lines.names[f"{prefix}out"]
        )
        if self.sharing:
            plain, names = once(instructions)
            lowered = replace(lowered, lines=tuple(plain), output=names.get(lowered.output, lowered.output))
            lowered = share(collapse(lowered, attributes, lines.variables), attributes, lines.variables)
            self._note_collapsed(lowered, {plan.attribute: id for id, plan in levels.items()})
        parts = stages(lowered.lines)
        body = Body(
            name="",
            block=scope.block,
            input_size=self.graph.sizes[f"{prefix}in"],
            output_size=self.graph.sizes[f"{prefix}out"],
            levels=tuple(lowered.levels.values()),
            blocks=tuple(plan for plan, _ in blocks.values()),
            chunk_tokens=min((self.graph.level(id).chunk for id in levels if id in lines.peeked), default=0),
            instructions=parts.before,
            output=lowered.output,
            shared=lowered.shared,
            loop=parts.loop,
            after=parts.after,
        )
        if body not in self.bodies:
            self.bodies[body] = self._body_names.new(scope.block)
        return self.bodies[body]

    def _note_collapsed(self, lowered: Lowered, ids: dict[str, str]) -> None:
        """The first member stands for the running product in the list of costs, the second for its source."""
        for shared in lowered.shared:
            if shared.form is Sharing.ONE_PRODUCT:
                memories = [shared.attribute, *([shared.source] if shared.source else [])]
                for number, member in enumerate(shared.members):
                    of = lowered.levels[memories[number]] if number < len(memories) else None
                    self.collapsed[ids[member]] = None if of is None else (of.input_size, of.output_size)

    def _levels(self, scope: Scope, path: str, attributes: Names) -> dict[str, LevelPlan]:
        plans: dict[str, LevelPlan] = {}
        for level in self._levels_in[scope.id]:
            attribute = attributes.new(level.name)
            self.modules[level.id] = f"{path}{attribute}"
            plans[level.id] = level_plan(self.graph, level, attribute, level.id in self._self_referential)
        return {id: _with_parent(plan, plans, self.graph.level(id)) for id, plan in plans.items()}

    def _block(self, copies: _Copies, path: str, attributes: Names) -> tuple[BlockPlan, str]:
        """A block of a body, and the flow that enters its first copy."""
        attribute = attributes.new(copies.name)
        bodies = tuple(
            self._body(copy, f"{path}{attribute}.{copy.copy}." if copies.repeated else f"{path}{attribute}.")
            for copy in copies.scopes
        )
        source = self.graph.source(f"{copies.scopes[0].id}.in", EdgeType.READ)
        assert source is not None
        return BlockPlan(copies.name, attribute, bodies, copies.repeated), source


@dataclass(frozen=True, slots=True)
class _Copies:
    """The copies of one block level, which run one after the other."""

    parent: str
    name: str
    repeated: bool
    scopes: tuple[Scope, ...]

    @property
    def exit(self) -> str:
        return f"{self.scopes[-1].id}.out"


def _groups(graph: NestGraph) -> Iterator[_Copies]:
    groups: dict[str, list[Scope]] = defaultdict(list)
    for scope in graph.scopes.values():
        if scope.parent is not None and f"{scope.id}.out" in graph:
            repeated = scope.declared.endswith("[*]")
            groups[re.sub(r"\[\d+\]$", "", scope.id) if repeated else scope.id].append(scope)
    for id, scopes in groups.items():
        parent = scopes[0].parent or ""
        name = id.removeprefix(f"{parent}.") if parent else id
        yield _Copies(parent, name, scopes[0].declared.endswith("[*]"), tuple(scopes))


class _Lines:
    """Lowers the nodes of one scope to instructions; `names` are the variables of its flows."""

    def __init__(
        self,
        graph: NestGraph,
        scope: Scope,
        levels: dict[str, LevelPlan],
        blocks: dict[str, tuple[BlockPlan, str]],
        anchored: set[str],
    ) -> None:
        self.graph = graph
        self.anchored = anchored
        self.peeked: set[str] = set()
        """The levels whose anchor is read."""
        self.prefix = f"{scope.id}." if scope.id else ""
        self.levels = levels
        self.blocks = blocks
        self.variables = Names()
        self.names: dict[str, str] = {f"{self.prefix}in": self.variables.new("in")}

    def lower(self, ids: list[str]) -> Iterator[Instruction]:
        for id in ids:
            if id in self.blocks:
                plan, source = self.blocks[id]
                result = self._name(id, plan.name)
                yield RunBlock(result, plan.attribute, self.names[source])
                continue
            node = self.graph[id]
            match node:
                case Flow() if id not in self.names:
                    self.names[id] = self.names[self._only(id, EdgeType.READ)]
                case Operation():
                    operands = tuple(self._operand(operand) for operand in node.operands)
                    yield Call(self._name(id), node.function, operands, node.options)
                case Level() if self.levels[id].association:
                    yield self._learn(node, self.levels[id])
                case Read():
                    yield self._read(node, self.levels[node.level])

    def _learn(self, level: Level, plan: LevelPlan) -> Instruction:
        key, value = (self.names[self._only(level.id, edge)] for edge in (EdgeType.KEY, EdgeType.VALUE))
        result = self.names[level.id] = self.variables.new(f"{level.name}_context")
        return Learn(result, plan.attribute, key, (value,), self._factors(level))

    def _factors(self, level: Level) -> tuple[tuple[str, Operand], ...]:
        if LIBRARY.kinds[level.kind].is_nonparametric:
            return ()
        optimizer = level.optimizer
        flows = {name: self.names[source] for name, source in optimizer.flows} if optimizer else {}
        numbers: dict[str, Any] = dict(optimizer.arguments) if optimizer else {"step": 1.0, "retain": 1.0}
        names = ["step", "retain", *(["momentum"] if "momentum" in level.rule_in_context else [])]
        return tuple((name, flows[name] if name in flows else numbers[name]) for name in names)

    def _read(self, read: Read, plan: LevelPlan) -> Instruction:
        flow = self.names[read.operand]
        if read.id in self.anchored:
            self.peeked.add(read.level)
            return Peek(self._name(read.id), plan.attribute, flow)
        if plan.association:
            return Recall(self._name(read.id), plan.attribute, self.names[read.level], flow)
        return ReadLevel(self._name(read.id), plan.attribute, flow)

    def _only(self, id: str, edge: EdgeType) -> str:
        source = self.graph.source(id, edge)
        assert source is not None
        return source

    def _operand(self, operand: Operand) -> Operand:
        return self.names[operand] if isinstance(operand, str) else operand

    def _name(self, id: str, local: str | None = None) -> str:
        """A new variable: named after the flow that it becomes, or after its place."""
        wanted = local or id.removeprefix(self.prefix)
        for target in self.graph.targets(id, EdgeType.READ):
            flow = self.graph[target]
            if isinstance(flow, Flow) and not (flow.name == "in" or flow.name.endswith(".in")):
                wanted = flow.name
                break
        self.names[id] = self.variables.new(wanted)
        return self.names[id]


def level_plan(graph: NestGraph, level: Level, attribute: str, is_self_referential: bool) -> LevelPlan:
    """How to build one level; a self-referential one remembers its state at the start of each chunk."""
    kind = LIBRARY.kinds[level.kind]
    association = level.learning is Learning.ASSOCIATION
    options: list[tuple[str, Value]] = []
    if association and not kind.is_nonparametric:
        optimizer = dict(level.optimizer.arguments) if level.optimizer else {}
        options += [
            ("objective", level.objective),
            *([("p", level.exponent)] if level.objective == "lp" else []),
            ("optimizer", level.rule_in_context),
            ("toward", optimizer.get("toward", "zero")),
            *([("forget_first", True)] if level.forgets_first else []),
            ("read", level.read.value),
            ("period", level.period),
            ("chunk", level.chunk),
            ("gradient", str(STOP if level.gradient == STOP else THROUGH)),
        ]
        if is_self_referential and kind.memory is Memory.MATRIX:  # an associative memory remembers it anyway
            options.append(("anchored", True))
    options += start_options(level)
    input_size, output_size = graph.level_sizes[level.id]
    return LevelPlan(
        name=level.name,
        attribute=attribute,
        kind=level.kind,
        arguments=level.arguments,
        input_size=input_size,
        output_size=output_size,
        stateful=association or level.learns_surprise_in_context or kind.keeps_state(dict(level.arguments)),
        association=association,
        gradient=level.gradient,
        surprise=_surprise(graph, level),
        carried=is_carried(graph, level),
        options=tuple(options),
    )


def _with_parent(plan: LevelPlan, plans: dict[str, LevelPlan], level: Level) -> LevelPlan:
    """The plan of a level that starts from another one's state; that one stands in the same body."""
    if plan.surprise is None or not level.init.level:
        return plan
    return replace(plan, surprise=replace(plan.surprise, parent=plans[level.init.level].attribute))


def _surprise(graph: NestGraph, level: Level) -> SurprisePlan | None:
    if not level.learns_surprise_in_context:
        return None
    optimizer = level.optimizer or graph.train.optimizer
    return SurprisePlan(
        level.period,
        OptimizerPlan(optimizer.name, optimizer.arguments, optimizer.program),
        level.gradient,
        reset=level.reset,
        matrices=weights_of(graph, level).matrices,
    )


def _run_order(graph: NestGraph, anchored: set[str]) -> list[str]:
    """Nodes so that each comes after what it needs, otherwise in the order of the program."""
    place = {id: number for number, id in enumerate(graph.networkx)}
    return list(
        networkx.lexicographical_topological_sort(
            without_anchored_reads(graph, _RUN_EDGES, anchored), key=place.__getitem__
        )
    )
