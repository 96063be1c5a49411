"""What each level and the whole model cost: weights, state, floating-point operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nestdsl.graph.matrices import weights_of
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import TRAIN, Learning, Level
from nestdsl.graph.optimizer_levels import name_in, optimizer_of, place_of
from nestdsl.plan.optimizer_state import numbers_by_level, state_numbers
from nestdsl.plan.plan import Costs, LevelPlan, OrderedLevel, Plan
from nestdsl.plan.starts import is_trained
from nestdsl.vocabulary.signatures import LIBRARY, Memory, count
from nestdsl.vocabulary.timing import ReadTime

BYTES = 4
"""Of a float32 number: weights, optimizer memories and the state of memories are kept in it."""


def level_parameters(graph: NestGraph, level: Level) -> int:
    """How many numbers of one copy of a level are learned."""
    if level.owner or level.init.level or not level.init.trained:
        return 0
    return _weights(graph, level)


def _weights(graph: NestGraph, level: Level) -> int:
    """How many numbers the weights of one copy of a level are."""
    return count(LIBRARY.kinds[level.kind].parameters(dict(level.arguments), *graph.level_sizes[level.id]))


def numbers_in_context(graph: NestGraph, level: Level) -> int:
    """How many numbers each sequence keeps of the optimizer of a level that learns from surprise in context.

    One that starts from another level has weights there, if none of its own across sequences.
    """
    use = optimizer_of(graph, level)
    shapes = LIBRARY.kinds[level.kind].parameters(dict(level.arguments), *graph.level_sizes[level.id])
    return state_numbers(use.program, shapes, weights_of(graph, level).matrices)


def memories_of(graph: NestGraph, level: Level) -> dict[str, int]:
    """The levels inside of the optimizer that drives a copy of a level across sequences: numbers kept.

    The first weights of levels in context are moved by the optimizer of `train`.
    """
    if not level_parameters(graph, level):
        return {}
    use = graph.train.optimizer if level.in_context else optimizer_of(graph, level)
    shapes = LIBRARY.kinds[level.kind].parameters(dict(level.arguments), *graph.level_sizes[level.id])
    found = numbers_by_level(use.program, shapes, weights_of(graph, level).matrices)
    named: dict[str, int] = {}
    for (program, name), numbers in found.items():
        place = f"{TRAIN}.{name_in(use, program)}" if level.in_context else place_of(graph, level, program)
        named[f"{place}.{name}"] = numbers
    return named


def level_state(
    graph: NestGraph, level: Level, sizes: tuple[int, int], is_self_referential: bool
) -> tuple[int, int]:
    """Bytes of state of one copy: for each sequence, and more for each token read."""
    if level.owner:
        return 0, 0
    kind = LIBRARY.kinds[level.kind]
    if kind.is_memory and level.learning is not Learning.ASSOCIATION:
        return 0, 0
    arguments = dict(level.arguments)
    if level.learns_surprise_in_context:
        # Each sequence has its weights, the gradient that gathers, and what the optimizer keeps.
        weights = 2 * _weights(graph, level) + numbers_in_context(graph, level)
        return (weights + count(kind.state(arguments, *sizes))) * BYTES, 0
    is_memory = kind.is_memory and not kind.is_nonparametric
    states = len(memory_states(level, is_self_referential)) if is_memory else 1
    return (
        states * count(kind.state(arguments, *sizes)) * BYTES,
        kind.grows(arguments, *sizes)[0] * BYTES,
    )


def memory_states(level: Level, is_self_referential: bool) -> tuple[str, ...]:
    """What a memory keeps for each sequence, each as large as its weights: what it knows now, and more."""
    rule = level.rule_in_context
    optimizer = dict(level.optimizer.arguments) if level.optimizer else {}
    memory = LIBRARY.memory(level.kind)
    linear = memory is Memory.MATRIX and level.objective == "dot"
    is_stale = (rule != "gd" or level.objective == "lp" or memory is Memory.NETWORK) and not linear
    keeps_anchor = level.chunk > 1 and (level.read is ReadTime.ANCHOR or is_stale or is_self_referential)
    more = {
        "its momentum": "momentum" in rule,
        "its start": optimizer.get("toward") == "init",
        "what gathers over the period": level.period > 1,
        "the decay that gathers": level.period > 1 and rule in ("dgd", "dgd_momentum"),
        "what it knew at the start of the chunk": level.period == 1 and keeps_anchor,
    }
    return ("what it knows now", *(name for name, is_kept in more.items() if is_kept))


def level_flops(graph: NestGraph, level: Level) -> tuple[int, int]:
    """Operations of one copy for one token: fixed, and for each token of its context."""
    if level.owner:
        return 0, 0
    kind, sizes = LIBRARY.kinds[level.kind], graph.level_sizes[level.id]
    arguments = dict(level.arguments)
    reads = len(graph.reads_of(level.id))
    return kind.flops(arguments, *sizes) * reads, kind.grows(arguments, *sizes)[1] * reads


def total(levels: Iterable[OrderedLevel], optimizer_memories: Mapping[str, int]) -> Costs:
    """The whole model's costs; `optimizer_memories` are the bytes of the optimizers across sequences."""
    levels = tuple(levels)

    def add(field: str) -> int:
        return sum(getattr(level, field) * level.copies for level in levels)

    parameters = add("parameters")
    flops = add("flops_per_token")
    return Costs(
        parameters=parameters,
        trained_parameters=sum(
            level.parameters * level.copies
            for level in levels
            if level.learns != "nothing" and not level.frozen
        ),
        parameter_bytes=parameters * BYTES,
        optimizer_bytes=sum(optimizer_memories.values()),
        state_bytes_per_sequence=add("state_bytes_per_sequence"),
        state_bytes_per_token=add("state_bytes_per_token"),
        flops_per_token_decoding=flops,
        flops_per_token_training=3 * flops,
        flops_per_token_of_context=add("flops_per_token_of_context"),
        optimizer_memories=tuple(optimizer_memories.items()),
    )


def least_weights(plan: Plan) -> int:
    """How many numbers the weights of a built model hold at least, counted from its bodies alone."""
    counts: dict[str, int] = {}
    for body in plan.bodies:
        own = sum(trained_weights(level) for level in body.levels)
        counts[body.name] = own + sum(counts[name] for block in body.blocks for name in block.bodies)
    return counts[plan.root.name]


def trained_weights(level: LevelPlan) -> int:
    """How many numbers of a level's start are trained; 0 of kinds from Python: theirs are not known."""
    kind = LIBRARY.kinds.get(level.kind)
    starts_from = level.surprise is not None and level.surprise.parent
    if kind is None or kind.is_custom or not is_trained(level) or starts_from:
        return 0
    return count(kind.parameters(dict(level.arguments), level.input_size, level.output_size))
