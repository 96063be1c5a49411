"""A compiled model as a table: its levels in order, and what it costs."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from nestdsl.plan.plan import OrderedLevel, Plan


def summary(plan: Plan, width: int) -> str:
    """Levels of one rank, kind and clock stand in one row, so that a page holds a deep model.

    The table is at most `width` columns wide.
    """
    table = Table(title=f"{plan.model}: levels, the fastest first", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("rank", "level", "kind", "updated", "learns", "optimizer"):
        table.add_column(heading, overflow="fold")
    for heading in ("parameters", "state/sequence"):
        table.add_column(heading, justify="right")
    for rows in _rows(plan).values():
        table.add_row(*_cells(rows, plan))
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get() + _costs(plan)


def _rows(plan: Plan) -> dict[tuple[object, ...], list[OrderedLevel]]:
    rows: dict[tuple[object, ...], list[OrderedLevel]] = {}
    for level in plan.levels:
        key = (level.rank, level.kind, level.frequency, level.learns, level.optimizer, level.owner)
        rows.setdefault(key, []).append(level)
    return rows


def _cells(rows: list[OrderedLevel], plan: Plan) -> tuple[str, ...]:
    first = rows[0]
    names = ", ".join(f"{level.name}{f' ×{level.copies}' if level.copies > 1 else ''}" for level in rows)
    optimizer = first.optimizer.name if first.optimizer else plan.train.optimizer.name
    if first.owner or first.frozen or first.frequency == "every read":
        optimizer = "–"
    parameters = sum(level.parameters * level.copies for level in rows)
    state = sum(level.state_bytes_per_sequence * level.copies for level in rows)
    growth = sum(level.state_bytes_per_token * level.copies for level in rows)
    return (
        str(first.rank),
        names,
        first.kind,
        first.frequency,
        first.learns,
        optimizer,
        f"{parameters:,}" if parameters else "–",
        f"{_bytes(growth)} a token" if growth else (_bytes(state) if state else "–"),
    )


def _costs(plan: Plan) -> str:
    costs = plan.costs
    lines = [
        f"parameters        {costs.parameters:,} ({_bytes(costs.parameter_bytes)}), "
        f"{costs.trained_parameters:,} trained; optimizer memories {_bytes(costs.optimizer_bytes)}",
        f"state             {_bytes(costs.state_bytes_per_sequence)} for each sequence"
        + (
            f", and {_bytes(costs.state_bytes_per_token)} for each token read"
            if costs.state_bytes_per_token
            else ""
        ),
        f"operations        {costs.flops_per_token_decoding:,} a token decoding, "
        f"{costs.flops_per_token_training:,} training"
        + (
            f", and {costs.flops_per_token_of_context:,} for each token of context"
            if costs.flops_per_token_of_context
            else ""
        ),
        f"clock             {_clock(plan)}",
    ]
    return "\n".join(lines)


def _clock(plan: Plan) -> str:
    found = ((plan.clock.tokens, "token"), (plan.clock.steps, "step"))
    return "; ".join(_periods([period for period, _ in part], unit) for part, unit in found if part)


def _periods(periods: list[int], unit: str) -> str:
    return f"{' '.join(f'{period:,}' for period in periods)} {unit}{'s' * (periods[-1] != 1)}"


def _bytes(count: int) -> str:
    value, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while value >= 1024 and (larger := next(units, None)):
        value, unit = value / 1024, larger
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
