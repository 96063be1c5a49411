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
from nestdsl.checks.sizes import check_sizes
from nestdsl.checks.starts import check_starts
from nestdsl.checks.use import check_use
from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph

Check = Callable[[NestGraph, Diagnostics], None]

CHECKS: tuple[Check, ...] = (
    check_reads,
    check_sizes,
    check_causality,
    check_clocks,
    check_clauses,
    check_own_starts,
    check_starts,
    check_optimizers,
    check_objective,
)
WHOLE: tuple[Check, ...] = (check_use,)


def run_checks(graph: NestGraph, diagnostics: Diagnostics, *, whole: bool = True) -> None:
    """Runs every check that this graph can take, once its sizes are inferred, and reports all that they find.

    Without `whole`, something else is wrong already.
    """
    for check in CHECKS:
        check(graph, diagnostics)
    if whole and not diagnostics.has_errors:
        for check in WHOLE:
            check(graph, diagnostics)
