"""N0201, N0404, N0004: what the sizes of levels allow, once they are inferred."""

from __future__ import annotations

from nestdsl.diagnostics import LIMIT, Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import KIND_CALL, Learning, Level, OptimizerUse
from nestdsl.inference.sizes import report_ids, shown_number
from nestdsl.limits import MAX_NUMBERS
from nestdsl.vocabulary.clauses import OPTIMIZER
from nestdsl.vocabulary.signatures import LIBRARY, Memory, count


def check_sizes(graph: NestGraph, diagnostics: Diagnostics) -> None:
    for id, sizes in graph.level_sizes.items():
        level = graph.level(id)
        _check_numbers(level, sizes, diagnostics)
        heads = dict(level.arguments).get("heads")
        if level.learning is Learning.ASSOCIATION and level.optimizer and isinstance(heads, int):
            _check_generated(graph, level, level.optimizer, heads, diagnostics)


def _check_numbers(level: Level, sizes: tuple[int, int], diagnostics: Diagnostics) -> None:
    """N0004 for levels that no machine can hold: their numbers could not even be counted in 64 bits."""
    kind, arguments = LIBRARY.kinds[level.kind], dict(level.arguments)
    for shapes, what in ((kind.parameters, "weights"), (kind.state, "numbers of state")):
        numbers = count(shapes(arguments, *sizes))
        if numbers > MAX_NUMBERS:
            diagnostics.report(
                LIMIT,
                f"`{level.name}` would have {shown_number(numbers)} {what}; "
                f"a level has at most {MAX_NUMBERS:,}",
                (level.place(KIND_CALL) or level.span),
                "choose smaller sizes",
            )
            return


def _check_generated(
    graph: NestGraph, level: Level, optimizer: OptimizerUse, heads: int, diagnostics: Diagnostics
) -> None:
    """What an optimizer takes from flows has a value for each head, or for each channel of the key."""
    key, _ = graph.level_sizes[level.id]
    for name, flow in optimizer.flows:
        if flow in graph.ids:
            report_ids(level.clause(OPTIMIZER), diagnostics)
            continue
        size = graph.sizes.get(flow)
        if size in (None, 1, heads):
            continue
        if name == "retain" and size == key and _keeps_channels(level):
            _check_channels(level, optimizer, diagnostics)
            continue
        diagnostics.report(
            "N0201",
            f"`{name}` has {size} values for each token, but the memory has {heads} head{'s' * (heads != 1)}",
            optimizer.span,
            f"make one value for each head: `-> linear({heads})`",
        )


def _keeps_channels(level: Level) -> bool:
    """Whether a memory can retain each channel of its key at a rate of its own."""
    is_linear = level.rule_in_context in ("gd", "dgd") and level.objective in ("l2", "dot")
    return LIBRARY.memory(level.kind) is Memory.MATRIX and is_linear


def _check_channels(level: Level, optimizer: OptimizerUse, diagnostics: Diagnostics) -> None:
    """N0404 where channels that decay for themselves leave no way to work on several tokens at once."""
    is_stale = level.objective == "l2" and level.rule_in_context == "dgd"
    if level.period > 1 or (level.chunk > 1 and is_stale):
        diagnostics.report(
            "N0404",
            f"`retain` of `{level.name}` has a value for each channel, which has no parallel form here",
            optimizer.span,
            "work token by token: `every 1 token, chunk 1`",
        )
