"""What the runs say, as markdown: the comparisons, the criterion of recall, and our other rates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.learning.comparison import RECALLED, Setting, Side, judge, side
from benchmarks.learning.contenders import Family, Reference
from benchmarks.learning.run import is_missing
from benchmarks.learning.store import Store

_HEAD = (
    "family",
    "task",
    "against",
    "parameters, ours and theirs",
    "theirs at each rate",
    "theirs at the best, over seeds",
    "ours as shipped, over seeds",
    "ours is",
    "seconds, ours and theirs",
)


def comparisons(families: Sequence[Family], settings: Sequence[Setting], store: Store) -> str:
    """A line for each family, reference and task, and how many are ahead, level and behind."""
    lines, verdicts = _table(_HEAD), []
    for family in families:
        for setting in settings:
            for reference in family.references:
                cells, verdict = _compared(family, reference, setting, store)
                lines.append(_line((family.name, task_words(setting), reference.title, *cells)))
                verdicts.append(verdict)
    counted = ", ".join(f"{verdicts.count(word)} {word}" for word in ("ahead", "level", "behind"))
    missing = verdicts.count("")
    return "\n".join([*lines, "", f"{counted}{f', {missing} not measured' if missing else ''}.", ""])


def _compared(
    family: Family, reference: Reference, setting: Setting, store: Store
) -> tuple[tuple[str, ...], str]:
    mine = side(setting.ours(family), store)
    best = setting.best(family, reference, store)
    theirs = side(best, store) if best else None
    tried = [(job.rate, side([job], store)) for job in setting.search(family, reference)]
    rates = ", ".join(
        _bold(f"{rate:g}: {_mean(one)}", bool(best) and best[0].rate == rate) for rate, one in tried
    )
    verdict = judge(mine, theirs) if mine and theirs else ""
    if is_missing(reference.key) and theirs is None:
        rates = "not installed"
    return (
        f"{_parameters(mine)}, {_parameters(theirs)}",
        rates,
        over_seeds(theirs),
        over_seeds(mine),
        f"**{verdict}**" if verdict == "behind" else verdict or "-",
        f"{_seconds(mine)}, {_seconds(theirs)}",
    ), verdict


def recall(families: Sequence[Family], settings: Sequence[Setting], store: Store) -> str:
    """Whether the programs recall, at each size with each seed."""
    lines = _table(("family", *(task_words(setting) for setting in settings), f"all {RECALLED:g}"))
    reached = 0
    for family in families:
        sides = [side(setting.ours(family), store) for setting in settings]
        holds = [
            None if one is None else all((run.accuracy or 0.0) >= RECALLED for run in one.outcomes)
            for one in sides
        ]
        cells = [_runs(one, bool(held)) for one, held in zip(sides, holds, strict=True)]
        verdict = "not measured" if None in holds else "reached" if all(holds) else "missed"
        reached += verdict == "reached"
        lines.append(_line((family.name, *cells, verdict)))
    return "\n".join([*lines, "", f"{reached} of {len(families)} reached.", ""])


def other_rates(
    families: Sequence[Family], settings: Sequence[Setting], factors: Sequence[float], store: Store
) -> str:
    """Our programs at factors of their rates, with the first seed."""
    lines = _table(("family", "task", *(f"{factor:g}×" for factor in factors)))
    for family in families:
        for setting in settings:
            sides = [side(setting.ours(family, factor)[:1], store) for factor in factors]
            lines.append(_line((family.name, task_words(setting), *map(_mean, sides))))
    return "\n".join([*lines, ""])


def task_words(setting: Setting) -> str:
    layers = f"{setting.layers} layer{'s' * (setting.layers != 1)}"
    return f"bytes, {layers}" if setting.task == "bytes" else f"recall, {layers}, {setting.filler} filler"


def over_seeds(one: Side | None) -> str:
    """The mean, and the lowest and the highest: `2.655 (2.641 to 2.668)`; of recall, after how many steps."""
    if one is None:
        return "-"
    figures = sorted(run.held_out if run.accuracy is None else run.accuracy for run in one.outcomes)
    steps = f" after {one.steps:.0f} steps" if one.outcomes[0].accuracy is not None else ""
    return f"{one.mean:.3f} ({figures[0]:.3f} to {figures[-1]:.3f}){steps}"


def _runs(one: Side | None, held: bool) -> str:
    if one is None:
        return "-"
    shown = ", ".join(f"{run.accuracy or 0.0:.2f} ({run.step})" for run in one.outcomes)
    return shown if held else f"**{shown}**"


def _mean(one: Side | None) -> str:
    return "-" if one is None else f"{one.mean:.3f}"


def _parameters(one: Side | None) -> str:
    return "-" if one is None else f"{one.outcomes[0].parameters:,}"


def _seconds(one: Side | None) -> str:
    return "-" if one is None else f"{one.seconds:.0f}"


def _bold(text: str, is_bold: bool) -> str:
    return f"**{text}**" if is_bold else text


def _table(head: Iterable[str]) -> list[str]:
    cells = tuple(head)
    return [_line(cells), f"|{'---|' * len(cells)}"]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
