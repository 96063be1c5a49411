"""What the boxes of a picture say about levels, optimizers and the training around them."""

from __future__ import annotations

from nestdsl.diagnostics.quantities import as_written
from nestdsl.graph.nodes import Input, Learning, Level, OptimizerUse, Train
from nestdsl.graph.order import describe_frequency
from nestdsl.render.style import FAINT, label, number, text
from nestdsl.vocabulary.signatures import LIBRARY

SMALL = 9

UNSAID = "every step"
"""The frequency of ordinary layers, which a box of the data flow does not repeat."""


def shown(id: str) -> str:
    """The name of a folded id: `stack[*].memory` is shown as `stack.memory`, its count stands beside."""
    return id.replace("[*]", "").removeprefix("@")


def times(copies: int) -> str:
    return f" ×{copies}" if copies > 1 else ""


def optimizer(use: OptimizerUse) -> str:
    """`adamw(lr=0.0003)`: the arguments that the program says, flows by name."""
    given = [f"{name}={as_written(number)}" for name, number in use.arguments if name in use.given]
    given += [name for name, _ in use.flows]
    return f"{use.name}({', '.join(given)})" if given else use.name


def how_it_learns(level: Level, train: Train) -> str:
    """The level's objective and optimizer, or why it has none."""
    if level.owner:
        return ""
    kind = LIBRARY.kinds[level.kind]
    if kind.is_nonparametric:
        return "softmax, recomputed"
    if level.frozen:
        return "frozen"
    if level.learning is Learning.ASSOCIATION:
        return (
            f"{level.objective} · {optimizer(level.optimizer)}" if level.optimizer else str(level.objective)
        )
    return optimizer(level.optimizer) if level.optimizer else train.optimizer.name


def parameters(total: int, copies: int) -> str:
    """`4 × 16.6 k parameters`, or only their total where the copies differ in size."""
    if total == 0:
        return "no parameters"
    if copies > 1 and total % copies == 0:
        return f"{copies} × {number(total // copies)} parameters"
    return f"{number(total)} parameters"


def level_label(level: Level, train: Train, total: int, copies: int) -> str:
    """The label of one level: name and kind, frequency and optimizer, parameters."""
    name, kind = shown(level.declared), level.kind
    title = text(name, bold=True) + text(times(copies)) + text(f"  {kind}", 10)
    rows = [title, ", ".join(filter(None, (describe_frequency(level), how_it_learns(level, train))))]
    if not level.owner:
        rows.append(parameters(total, copies))
    return label([rows[0], *(text(row, SMALL, color=FAINT) for row in rows[1:])])


def place_label(level: Level, sizes: tuple[int, int]) -> str:
    """The label of a level in the data flow: its name if it has one, kind, sizes and frequency."""
    head = text(level.kind) if level.name.rpartition(f".{level.kind}")[0] else ""
    head = head or text(level.name, bold=True) + text(f"  {level.kind}", 10)
    rows = [f"{sizes[0]} to {sizes[1]}"] if sizes[0] != sizes[1] else []
    if (every := describe_frequency(level)) != UNSAID:
        rows.append(every)
    return label([head, text(", ".join(rows), SMALL, color=FAINT)] if rows else [head])


def input_label(source: Input) -> str:
    """The label of the model's input: ids or vectors, and their size."""
    words = text(f"{source.takes.value}, {source.size}", SMALL, color=FAINT)
    return label([text("in", bold=True), words])


def train_label(train: Train) -> str:
    """The label of the outermost level."""
    every = "every step" if train.period == 1 else f"every {train.period} steps"
    rows = (f"{train.objective}, {every}", optimizer(train.optimizer))
    return label([text("train", bold=True), *(text(row, SMALL, color=FAINT) for row in rows)])
