"""N0402, N0403: the periods of a model divide one another, and chunks fit their periods.

Only then is there one clock: a segment at whose end every slower level's turn can fall.
"""

from __future__ import annotations

from itertools import pairwise

from nestdsl.diagnostics import Diagnostic, Diagnostics, Note
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Level, Unit
from nestdsl.graph.streams import is_carried


def check_clocks(graph: NestGraph, diagnostics: Diagnostics) -> None:
    for unit in Unit:
        levels = [
            level for level in graph.levels() if level.unit is unit and not (level.frozen or level.owner)
        ]
        _check_periods(levels, unit, diagnostics)
    for level in graph.levels():
        if "chunk" in dict(level.written) and level.in_context:
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
                first[longer].clause("every"),
                f"choose {below} or {above} {unit.value}s here",
                (Note(f"`{other.name}` has a period of {shorter}", other.clause("every")),),
            )


def _check_chunk(level: Level, diagnostics: Diagnostics) -> None:
    if level.chunk % level.period:
        diagnostics.report(
            "N0403",
            f"a chunk of {level.chunk} tokens holds no whole number of periods of {level.period} tokens",
            level.clause("chunk"),
            f"choose a multiple of {level.period}",
        )


def check_sequence(graph: NestGraph, tokens: int) -> tuple[Diagnostic, ...]:
    """N0406 for every level that `tokens` tokens never bring to an update."""
    found = Diagnostics()
    for level in graph.levels():
        if level.in_context and not level.owner and level.period > tokens and not is_carried(graph, level):
            found.report(
                "N0406",
                f"`{level.name}` updates once in {level.period} tokens, but a sequence has {tokens}: never",
                level.clause("every"),
                f"train on longer sequences, or choose a period of at most {tokens}",
            )
    return found.in_order()
