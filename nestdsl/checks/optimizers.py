"""N0404: every optimizer can drive what it is asked to drive."""

from __future__ import annotations

from nestdsl.diagnostics import Diagnostics
from nestdsl.graph.nest import NestGraph
from nestdsl.graph.nodes import TRAIN, Learning, OptimizerUse
from nestdsl.library.signatures import LIBRARY
from nestdsl.semantics.names import listed


def check_optimizers(graph: NestGraph, diagnostics: Diagnostics) -> None:
    if TRAIN in graph:
        _check_across(graph.train.optimizer, "training", diagnostics)
    for level in graph.levels():
        if level.optimizer is None or level.owner:
            continue
        if level.learning is Learning.ASSOCIATION:
            _check_in_context(level.optimizer, level.name, diagnostics)
        elif level.learns_surprise_in_context:
            _check_surprised(level.optimizer, level.name, diagnostics)
        else:
            _check_across(level.optimizer, f"`{level.name}`", diagnostics)


def _check_across(optimizer: OptimizerUse, what: str, diagnostics: Diagnostics) -> None:
    if LIBRARY.optimizers[optimizer.name].in_context:
        others = [name for name, signature in LIBRARY.optimizers.items() if not signature.in_context]
        diagnostics.report(
            "N0404",
            f"`{optimizer.name}` moves a memory while a sequence is read; it cannot drive {what}",
            optimizer.span,
            f"use one of {listed(others)}",
        )


def _check_surprised(optimizer: OptimizerUse, name: str, diagnostics: Diagnostics) -> None:
    if optimizer.name in ("dgd", "momentum"):
        diagnostics.report(
            "N0404",
            f"`{optimizer.name}` moves a memory that learns `key -> value`; it cannot drive `{name}`",
            optimizer.span,
            "use `gd(step)` or an optimizer of `train`, such as `sgd(lr, momentum)`",
        )
        return
    for argument, _ in optimizer.flows:
        diagnostics.report(
            "N0404",
            f"`{argument}` of `{name}` is one number: the level moves once in many tokens",
            optimizer.span,
            f"write a number, such as `{argument} = 0.1`",
        )


def _check_in_context(optimizer: OptimizerUse, name: str, diagnostics: Diagnostics) -> None:
    if not LIBRARY.optimizers[optimizer.name].in_context:
        diagnostics.report(
            "N0404",
            f"`{optimizer.name}` cannot drive `{name}`, a memory that learns in context",
            optimizer.span,
            "use `gd`, `dgd` or `momentum`, whose `step` and `retain` may be flows",
        )
