"""A compiled model as a table: its levels in order, and what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

from rich import box
from rich.console import Console
from rich.table import Table

from nestdsl.diagnostics.quantities import in_bytes
from nestdsl.plan.plan import OrderedLevel, Plan
from nestdsl.plan.precision import precisions
from nestdsl.processor import has_bfloat16
from nestdsl.vocabulary.functions import AUTO
from nestdsl.vocabulary.timing import EveryRead

_WIDE = 110
"""From so many columns on, there is room between the columns of the table."""


def summary(plan: Plan, width: int) -> str:
    """Levels of one rank, kind and clock stand in one row, so that a page holds a deep model.

    The table is at most `width` columns wide.
    """
    title = f"{plan.model}: levels, the fastest first"
    is_wide = width >= _WIDE
    padding = (0, 1) if is_wide else (0, 1, 0, 0)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=padding, pad_edge=is_wide)
    # Names of levels may break in a narrow terminal, others between words; words and numbers may not.
    table.add_column("rank", no_wrap=True)
    table.add_column("level", overflow="fold")
    table.add_column("kind", no_wrap=True)
    table.add_column("updated")
    table.add_column("learns", min_width=len("surprise"))
    table.add_column("optimizer", no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("state/sequence" if is_wide else "state/ sequence", justify="right")
    for rows in _rows(plan).values():
        table.add_row(*_cells(rows, plan))
    drawn = StringIO()  # the same table, whatever standard output is
    Console(file=drawn, width=width, color_system=None, force_terminal=False).print(table)
    lines = (line.rstrip() for line in drawn.getvalue().splitlines())  # as wide as they are, also in a pipe
    return "\n".join([*lines, _costs(plan)])


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
    if first.owner or first.frozen or isinstance(first.frequency, EveryRead):
        optimizer = "–"
    parameters = sum(level.parameters * level.copies for level in rows)
    state = sum(level.state_bytes_per_sequence * level.copies for level in rows)
    growth = sum(level.state_bytes_per_token * level.copies for level in rows)
    return (
        str(first.rank),
        names,
        first.kind,
        str(first.frequency),
        first.learns,
        optimizer,
        f"{parameters:,}" if parameters else "–",
        f"{in_bytes(growth)} a token" if growth else (in_bytes(state) if state else "–"),
    )


def _costs(plan: Plan) -> str:
    costs = plan.costs
    lines = [
        f"parameters        {costs.parameters:,} ({in_bytes(costs.parameter_bytes)}), "
        f"{costs.trained_parameters:,} trained; optimizer memories {in_bytes(costs.optimizer_bytes)}",
        *_optimizers(plan),
        *_precisions(plan),
        f"state             {in_bytes(costs.state_bytes_per_sequence)} for each sequence"
        + (
            f", and {in_bytes(costs.state_bytes_per_token)} for each token read"
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
        *(
            f"{'' if number else 'sharing':<17} {text}"
            for number, text in enumerate(dict.fromkeys(_sharing(plan)))
        ),
    ]
    return "\n".join(lines)


def _optimizers(plan: Plan) -> Iterator[str]:
    """What each optimizer keeps for all weights that it drives, memory by memory."""
    places: dict[str, list[str]] = {}
    for id, count in plan.costs.optimizer_memories:
        owner = next((level.owner for level in plan.levels if level.name == id), id.partition(".")[0])
        program, _, memory = id.removeprefix(f"{owner}.").partition(".")
        place = f"{owner.removeprefix('@').replace('[*]', '')}.{program}"
        places.setdefault(place, []).append(f"{memory} {in_bytes(count)}")
    for number, (place, memories) in enumerate(places.items()):
        yield f"{'' if number else 'optimizers':<17} {place}: {', '.join(memories)}"


def _precisions(plan: Plan) -> Iterator[str]:
    """In which precision the optimizers multiply matrices on this machine."""
    texts = {name: _precision(found) for name, found in precisions(plan).items()}
    for number, text in enumerate(dict.fromkeys(texts.values())):
        names = ", ".join(name for name, own in texts.items() if own == text)
        yield f"{'' if number else 'precision':<17} {names}: newton_schulz in {text}"


def _precision(found: frozenset[str]) -> str:
    """The precisions that one optimizer names, as they are on this machine."""
    chosen = {
        None: "bfloat16 or float32: the first run measures which is faster here",
        True: "bfloat16 on this processor, which has it in hardware",
        False: "float32 on this processor, which has no bfloat16 in hardware",
    }[has_bfloat16()]
    written = [f"{one}, as the program says" for one in sorted(found - {AUTO})]
    return " and ".join([*written, *([chosen] if AUTO in found else [])])


def _sharing(plan: Plan) -> Iterator[str]:
    """The memories that work as one, block by block."""
    for body in plan.bodies:
        names = {level.attribute: level.name for level in body.levels}
        names |= {shared.attribute: shared.attribute for shared in body.shared}
        for shared in body.shared:
            members = ", ".join(names[member] for member in shared.members)
            yield f"{body.block}: {members}: {shared.form}"


def _clock(plan: Plan) -> str:
    found = ((plan.clock.tokens, "token"), (plan.clock.steps, "step"))
    return "; ".join(_periods([period for period, _ in part], unit) for part, unit in found if part)


def _periods(periods: list[int], unit: str) -> str:
    return f"{' '.join(f'{period:,}' for period in periods)} {unit}{'s' * (periods[-1] != 1)}"
