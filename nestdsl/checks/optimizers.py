"""N0404, N0405: what an optimizer is told suits the level that it drives."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import Learning, Level
from nestdsl.vocabulary.signatures import LIBRARY, Memory


def check_optimizers(graph: NestGraph, diagnostics: Diagnostics) -> None:
    for level in graph.levels():
        if level.owner or level.id in graph.unsure:
            continue
        if level.in_context and level.forgets_first:
            _check_forgetting(level, diagnostics)
        if level.learns_surprise_in_context:
            _check_surprised(graph, level, diagnostics)
        elif level.optimizer and level.optimizer.program is None and level.learning is Learning.SURPRISE:
            diagnostics.report(
                "N0404",
                f"`{level.optimizer.name}` moves what changes while a sequence is read; it cannot drive "
                f"`{level.name}`, which moves once in a number of steps",
                level.optimizer.span,
                "use an optimizer of `std.optim`, such as `sgd(lr = 0.1)`, or say `every N tokens`",
            )


def _check_forgetting(level: Level, diagnostics: Diagnostics) -> None:
    """What forgets first asks what is left of it for its answer, token by token."""
    if level.learning is Learning.SURPRISE or LIBRARY.memory(level.kind) is not Memory.MATRIX:
        why, hint = f"`{level.name}` is none", "leave it out"
    elif level.objective == "dot":
        why, hint = f"the gradient of `{level.name}` asks for no answer", "leave it out: nothing would change"
    elif level.objective != "l2":
        why, hint = f"the objective of `{level.name}` is another", "write `objective l2`, or leave it out"
    elif level.period > 1:
        why, hint = (
            f"`{level.name}` moves once in {level.period} tokens",
            "write `every 1 token`, or leave it out",
        )
    else:
        return
    assert level.optimizer is not None
    diagnostics.report(
        "N0404",
        "`forget_first` is of `matrix` memories that learn `key -> value` with `gd`, the objective l2 and an "
        f"update at every token; {why}",
        level.optimizer.span,
        hint,
    )


def _check_surprised(graph: NestGraph, level: Level, diagnostics: Diagnostics) -> None:
    use = level.optimizer or graph.train.optimizer
    for argument, _ in use.flows:
        diagnostics.report(
            "N0404",
            f"`{argument}` of `{level.name}` is one number: the level moves once in many tokens",
            use.span,
            f"write a number, such as `{argument} = 0.1`",
        )
    for schedule in use.program.schedules if use.program else ():
        if not schedule.steps and schedule.shape != "constant":
            diagnostics.report(
                "N0405",
                f"`{schedule.parameter}` falls to the end of a run, and `{level.name}` learns within "
                "each sequence",
                use.span,
                f"say after how many updates: `{schedule.shape}(..., steps = 100)`, or give it a number",
            )
