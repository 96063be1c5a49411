"""Results as a table for a terminal, as markdown, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.model import Claim, Figure, Judged

_HEAD = ("work", "ours", "against", "ours, ms", "theirs, ms", "ratio", "target", "")
_UNITS = {"time": 1e3, "memory": 1.0, "compile": 1e3}


@dataclass(frozen=True, slots=True)
class Result:
    """A row, measured: its figures by name, its claims, and what there is to say (missing peers, faults)."""

    key: str
    title: str
    figures: tuple[Figure, ...]
    judged: tuple[Judged, ...]
    notes: tuple[str, ...]


def _cells(result: Result, judged: Judged) -> tuple[str, ...]:
    claim = judged.claim
    figures = {figure.name: figure for figure in result.figures}
    ours, theirs = (_shown(figures.get(name), claim) for name in (claim.ours, claim.theirs))
    return (
        result.title,
        _named(claim.ours, figures),
        _named(claim.theirs, figures) or "-",
        ours,
        theirs,
        _ratio(judged),
        _target(claim),
        {True: "reached", False: "missed", None: "not measured"}[judged.holds],
    )


def _named(name: str, figures: dict[str, Figure]) -> str:
    precision = figures[name].precision if name in figures else ""
    return f"{name} ({precision})" if precision else name


def _shown(figure: Figure | None, claim: Claim) -> str:
    match claim.measured, figure:
        case _, None:
            return "-"
        case "memory", Figure(peak_mib=peak):
            return "-" if peak is None else f"{peak:,.0f} MiB"
        case "compile", Figure(compile_seconds=seconds):
            return f"{seconds:,.0f} s"
        case _, Figure(seconds=seconds, peak_mib=peak):
            return f"{seconds * 1e3:,.1f}" + ("" if peak is None else f" ({peak:,.0f} MiB)")


def _ratio(judged: Judged) -> str:
    if judged.ratio is None:
        return "-"
    return f"{judged.ratio:.1f}" if not judged.claim.theirs else f"{judged.ratio:.2f}×"


def _target(claim: Claim) -> str:
    if claim.at_least is not None:
        return f"≥ {claim.at_least:g}×"
    return f"≤ {claim.at_most:g}{'×' if claim.theirs else ' s'}"


def as_text(results: Sequence[Result], width: int) -> str:
    """A table at most `width` columns wide, and the notes below it."""
    table = Table(box=box.SIMPLE_HEAD)
    for number, head in enumerate(_HEAD):
        table.add_column(head, justify="right" if 3 <= number <= 6 else "left", overflow="fold")
    for result in results:
        for judged in result.judged:
            table.add_row(*_cells(result, judged))
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get() + "".join(f"{line}\n" for line in _notes(results))


def as_markdown(results: Sequence[Result], heading: str) -> str:
    """The same in markdown, below one line that says where and when it was made."""
    lines = [heading, "", f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}"]
    for result in results:
        lines += [f"| {' | '.join(_cells(result, judged))} |" for judged in result.judged]
    notes = _notes(results)
    return "\n".join(lines + (["", *[f"- {note}" for note in notes]] if notes else [])) + "\n"


def as_json(results: Sequence[Result], heading: str) -> str:
    rows = [asdict(result) for result in results]
    for row, result in zip(rows, results, strict=True):
        for shown, judged in zip(row["judged"], result.judged, strict=True):
            shown["holds"] = judged.holds
    return json.dumps({"made": heading, "rows": rows}, indent=2, ensure_ascii=False) + "\n"


def from_json(text: str) -> list[Result]:
    """The rows that `as_json` has written, as they were measured."""
    return [
        Result(
            row["key"],
            row["title"],
            tuple(Figure(**{**figure, "times": tuple(figure["times"])}) for figure in row["figures"]),
            tuple(Judged(Claim(**judged["claim"]), judged["ratio"]) for judged in row["judged"]),
            tuple(row["notes"]),
        )
        for row in json.loads(text)["rows"]
    ]


def _notes(results: Sequence[Result]) -> list[str]:
    notes = [f"{result.key}: {note}" for result in results for note in result.notes]
    compiled = [
        f"{figure.name} {figure.compile_seconds:.0f} s"
        for result in results
        for figure in result.figures
        if figure.compile_seconds >= 2
    ]
    return notes + ([f"built and run for the first time in: {', '.join(compiled)}"] if compiled else [])
