"""N0402, N0403: the periods of a model divide one another, and chunks fit their periods.

Only then is there one clock: a segment at whose end every slower level's turn can fall.
"""

from __future__ import annotations

from itertools import pairwise

from nestdsl.diagnostics import Diagnostic, Diagnostics, Note
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import EdgeType, Level
from nestdsl.graph.streams import is_carried
from nestdsl.vocabulary.clauses import CHUNK, EVERY
from nestdsl.vocabulary.timing import Unit


def check_clocks(graph: NestGraph, diagnostics: Diagnostics) -> None:
    for unit in Unit:
        levels = [
            level for level in graph.levels() if level.unit is unit and not (level.frozen or level.owner)
        ]
        _check_periods(levels, unit, diagnostics)
    for level in graph.levels():
        if level.has(CHUNK) and level.in_context:
            _check_chunk(level, diagnostics)


def _check_periods(levels: list[Level], unit: Unit, diagnostics: Diagnostics) -> None:
    first: dict[int, Level] = {}
    for level in levels:
        first.setdefault(level.period, level)
    periods = sorted(first)
    for shorter, longer in pairwise(periods):
        if longer % shorter:
            below, above = longer - longer % shorter, longer - longer % shorter + shorter
            other = first[shorter]
            diagnostics.report(
                "N0402",
                f"the periods of {shorter} and {longer} {unit.value}s do not divide one another",
                first[longer].clause(EVERY),
                f"choose {below} or {above} {unit.value}s here",
                (Note(f"`{other.name}` has a period of {shorter}", other.clause(EVERY)),),
            )


def _check_chunk(level: Level, diagnostics: Diagnostics) -> None:
    if level.chunk % level.period:
        diagnostics.report(
            "N0403",
            f"a chunk of {level.chunk} tokens holds no whole number of periods of {level.period} tokens",
            level.clause(CHUNK),
            f"choose a multiple of {level.period}",
        )


def check_run(graph: NestGraph, tokens: int, steps: int) -> tuple[Diagnostic, ...]:
    """N0406 for every level that sequences of `tokens` tokens, or a run of `steps` steps, never bring to an
    update; and for every memory of an optimizer that never moves although what it drives does."""
    found = Diagnostics()
    for level in graph.levels():
        if level.iterations > 1:
            continue  # it solves what a memory gives it, whenever that moves
        if level.owner:
            driven = [graph.level(id) for id in graph.targets(level.id, EdgeType.OPTIMIZE)]
            is_told = all(_never(graph, one, tokens, steps) or is_carried(graph, one) for one in driven)
            name, where = level.id.removeprefix("@"), level.span
        else:
            is_told, name, where = False, level.name, level.clause(EVERY)
        if not is_told and _never(graph, level, tokens, steps):
            if level.unit is Unit.STEP:
                given, more, most = f"steps, but the run has {steps}", "for more steps", steps
            else:
                given, more, most = f"tokens, but a sequence has {tokens}", "on longer sequences", tokens
            found.report(
                "N0406",
                f"`{name}` updates once in {level.period} {given}: never",
                where,
                f"train {more}, or choose a period of at most {most}",
            )
    return found.in_order()


def _never(graph: NestGraph, level: Level, tokens: int, steps: int) -> bool:
    """Whether a level's period is longer than all that it is given."""
    if level.unit is Unit.STEP:
        return not level.frozen and level.period > steps
    return level.in_context and level.period > tokens and not is_carried(graph, level)
