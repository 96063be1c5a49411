"""Lowers a checked graph to its plan."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nestdsl.graph.gradients import reached_levels
from nestdsl.graph.matrices import weights_of
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Input, Learning, Level, OptimizerUse
from nestdsl.graph.optimizer_levels import ITERATION, level_of_program
from nestdsl.graph.optimizer_text import learned
from nestdsl.graph.order import how_often, order
from nestdsl.graph.self_reference import anchored_reads, self_referential_levels
from nestdsl.graph.streams import is_carried
from nestdsl.plan.bodies import BodyLowering
from nestdsl.plan.clock import clock
from nestdsl.plan.cost import BYTES, level_flops, level_parameters, level_state, memories_of, total
from nestdsl.plan.plan import FORMAT, InputPlan, OptimizerPlan, OrderedLevel, Plan, TrainPlan, WeightsPlan


def lower(graph: NestGraph, source: str, *, sharing: bool = True) -> Plan:
    """The plan of a graph that has passed every check and from which the unused is pruned.

    sharing: memories that can work as one do; without, each works by itself, with the same result.
    """
    bodies = BodyLowering(graph, sharing)
    built = bodies.run()
    levels = ordered_levels(graph, bodies.modules, bodies.collapsed)
    input = graph["in"]
    assert isinstance(input, Input)
    train = graph.train
    return Plan(
        format=FORMAT,
        model=graph.name,
        source=source,
        parameters=graph.parameters,
        input=InputPlan(input.takes.value, input.size),
        output_size=graph.sizes["out"],
        train=TrainPlan(train.objective, train.period, _optimizer(train.optimizer)),
        levels=levels,
        clock=clock(levels),
        costs=total(levels, _optimizer_memories(graph)),
        bodies=built,
        weights=tuple(
            WeightsPlan(bodies.modules[id], graph.level(id).init.file, graph.level(id).init.key, tensors)
            for id, tensors in graph.stored_weights.items()
            if id in bodies.modules
        ),
    )


def ordered_levels(
    graph: NestGraph, modules: dict[str, str], collapsed: dict[str, tuple[int, int] | None]
) -> tuple[OrderedLevel, ...]:
    """Every declared level once, the fastest first."""
    copies: dict[str, list[Level]] = {}
    for level in graph.levels():
        copies.setdefault(level.declared, []).append(level)
    self_referential = self_referential_levels(graph, anchored_reads(graph))
    known = _Known(graph, modules, reached_levels(graph), self_referential, collapsed)
    return tuple(
        _ordered(known, name, rank.number, copies[name]) for rank in order(graph) for name in rank.levels
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of the whole graph when its levels are listed."""

    graph: NestGraph
    modules: dict[str, str]
    reached: set[str]
    self_referential: set[str]
    collapsed: dict[str, tuple[int, int] | None]


def _ordered(known: _Known, name: str, rank: int, copies: list[Level]) -> OrderedLevel:
    graph, level = known.graph, copies[0]
    input_size, output_size = graph.level_sizes.get(level.id, (0, 0))
    sizes = known.collapsed.get(level.id, (input_size, output_size))
    state, state_growth = (
        (0, 0) if sizes is None else level_state(graph, level, sizes, level.id in known.self_referential)
    )
    flops, flops_growth = level_flops(graph, level)
    return OrderedLevel(
        name=name,
        kind=level.kind,
        rank=rank,
        frequency=how_often(level),
        unit=level.unit,
        period=level.period,
        learns=_learns(level, known),
        optimizer=_optimizer(level.optimizer) if level.optimizer else None,
        frozen=level.frozen,
        owner=level.owner,
        carried=is_carried(graph, level),
        matrices=not level.owner and all(weights_of(graph, copy).matrices for copy in copies),
        copies=len(copies),
        modules=tuple(known.modules[copy.id] for copy in copies if copy.id in known.modules),
        input_size=input_size,
        output_size=output_size,
        parameters=level_parameters(graph, level),
        state_bytes_per_sequence=state,
        state_bytes_per_token=state_growth,
        flops_per_token=flops,
        flops_per_token_of_context=flops_growth,
    )


def _learns(level: Level, known: _Known) -> str:
    if level.learning is Learning.ASSOCIATION:
        return f"{level.objective or 'softmax'}: key -> value"
    if level.owner:
        return "orthogonality" if level.kind == ITERATION else learned(*level_of_program(known.graph, level))
    return "surprise" if level.id in known.reached and not level.frozen else "nothing"


def _optimizer(use: OptimizerUse) -> OptimizerPlan:
    """The optimizer with its arguments; one that is a flow is shown as `flow NAME`."""
    flows = tuple((name, f"flow {re.sub(r'^.*[.]|#.*$', '', source)}") for name, source in use.flows)
    return OptimizerPlan(use.name, use.arguments + flows, use.program)


def _optimizer_memories(graph: NestGraph) -> dict[str, int]:
    """The levels inside of the optimizers across sequences, and the bytes that each keeps for all weights."""
    found: dict[str, int] = {}
    for level in graph.levels():
        if not level.owner and not level.frozen:
            for name, numbers in memories_of(graph, level).items():
                found[name] = found.get(name, 0) + numbers * BYTES
    return found
