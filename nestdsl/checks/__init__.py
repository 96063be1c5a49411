"""The checks of a graph, in the order they run: each a small file with one entry function.

A check adds diagnostics. Those in WHOLE speak about what is missing, and run only where nothing
else is wrong.
"""

from __future__ import annotations

from collections.abc import Callable

from nestdsl.checks.causality import check_causality
from nestdsl.checks.clauses import check_clauses
from nestdsl.checks.clocks import check_clocks
from nestdsl.checks.objective import check_objective
from nestdsl.checks.optimizers import check_optimizers
from nestdsl.checks.own_starts import check_own_starts
from nestdsl.checks.reads import check_reads
from nestdsl.checks.shapes import check_shapes
from nestdsl.checks.starts import check_starts
from nestdsl.checks.use import check_use
from nestdsl.checks.weights import check_weights
from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph

Check = Callable[[NestGraph, Diagnostics], None]

CHECKS: tuple[Check, ...] = (
    check_reads,
    check_shapes,
    check_causality,
    check_clocks,
    check_clauses,
    check_own_starts,
    check_starts,
    check_optimizers,
    check_objective,
    check_weights,
)
WHOLE: tuple[Check, ...] = (check_use,)


def run_checks(
    graph: NestGraph, diagnostics: Diagnostics, *, weights: bool = True, whole: bool = True
) -> None:
    """Runs every check that this graph can take, and reports all that they find.

    Without `weights`, files of weights need not be there. Without `whole`, something else is wrong already.
    """
    for check in CHECKS:
        if weights or check is not check_weights:
            check(graph, diagnostics)
    if whole and not diagnostics.has_errors:
        for check in WHOLE:
            check(graph, diagnostics)
