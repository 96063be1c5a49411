"""`python -m benchmarks.learning`: each family's example as it ships, beside a public implementation of it.

All learn from the same sequences for as many steps, with about as many parameters: 64 features, 2 heads, 2
layers; bytes of Python source (8 x 128 a step), and recall of 8 pairs (32 sequences a step; early end at
0.99), which is asked of ours with one layer and two, and over 0, 16 and (some of ours) 512 tokens of
filler. Ours takes its own rates, three seeds. A reference takes AdamW (betas 0.9 and 0.95, decay 0.1 of
matrices) at four rates (recall: two) with one seed, then three seeds at the best. Warm-up, cosine and
clipping are those of `nestdsl train` for all. Ours is behind, or ahead, if the means are further apart than
the larger of the two spreads over seeds. It installs nothing: references whose package is missing are
named. Runs that have ended are kept in --out, and not made again unless what makes them has changed.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.__main__ import write_between_marks
from benchmarks.learning.comparison import CRITERION, Setting
from benchmarks.learning.contenders import FAMILIES, RATES, Family
from benchmarks.learning.jobs import STEPS, Job
from benchmarks.learning.run import is_missing, run_all
from benchmarks.learning.store import Store
from benchmarks.learning.table import comparisons, other_rates, recall
from benchmarks.learning.tasks import FAR


def main() -> int:
    arguments = _parser().parse_args()
    started = time.perf_counter()
    store = Store(Path(arguments.out))
    families = [one for one in FAMILIES if not arguments.family or one.name in arguments.family]
    settings = _settings(arguments)
    notes: list[str] = []
    if arguments.show and not store:
        print(
            f"nothing has been run in {arguments.out}: leave out --show, or name its --out", file=sys.stderr
        )
        return 1
    if not arguments.show:
        notes = _run(families, settings, arguments, store)
    text = _report(families, settings, arguments, store)
    minutes = (time.perf_counter() - started) / 60
    lines = [_heading(arguments, minutes), "", text, *(f"- {note}" for note in notes)]
    table = "\n".join(lines).rstrip() + "\n"
    print(table, end="")
    if arguments.markdown:
        write_between_marks(Path(arguments.markdown), table)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [family.name for family in FAMILIES]
    parser.add_argument("--family", action="append", choices=names, help="only this one; may be repeated")
    parser.add_argument(
        "--task", action="append", choices=tuple(STEPS), help="only this one; may be repeated"
    )
    parser.add_argument("--ours-only", action="store_true", help="without references")
    parser.add_argument(
        "--ours-rates",
        type=float,
        nargs="+",
        default=[],
        metavar="FACTOR",
        help="ours at these factors of its rates as well, with one seed",
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs at the best rate (default: %(default)s)")
    parser.add_argument("--steps", type=int, help=f"of every task (default: {STEPS})")
    parser.add_argument("--quick", action="store_true", help="3 steps: does everything run? no figures")
    parser.add_argument("--processes", type=int, default=2, help="runs at once (default: %(default)s)")
    parser.add_argument(
        "--out",
        default="build/learning",
        metavar="DIR",
        help="keeps the runs (default: %(default)s)",
    )
    parser.add_argument("--show", action="store_true", help="run nothing: the table of what is in --out")
    parser.add_argument("--markdown", metavar="FILE", help="write the table into FILE, between its marks")
    return parser


@dataclass(frozen=True, slots=True)
class _Asked:
    """The settings at which references are compared, and those at which recall is asked of ours."""

    compared: tuple[Setting, ...]
    recalled: tuple[Setting, ...]
    far: tuple[Setting, ...]

    def recall_of(self, family: Family) -> tuple[Setting, ...]:
        return (self.recalled if family.recalls else ()) + (self.far if family.recalls_far else ())


def _settings(arguments: argparse.Namespace) -> _Asked:
    tasks = arguments.task or tuple(STEPS)
    seeds = 1 if arguments.quick else arguments.seeds

    def setting(task: str, layers: int, filler: int) -> Setting:
        steps = 3 if arguments.quick else arguments.steps or STEPS[task]
        rates = RATES.get(task, ())
        return Setting(task, layers, filler, steps, seeds, rates[:1] if arguments.quick else rates)

    compared = tuple(setting(task, *sizes) for task, sizes in _COMPARED.items() if task in tasks)
    recalled = tuple(setting("recall", *sizes) for sizes in CRITERION if "recall" in tasks)
    return _Asked(compared, recalled, tuple(setting("far", *sizes) for sizes in _FAR if "far" in tasks))


_COMPARED = {"bytes": (2, 0), "recall": (2, 16)}
"""Layers and filler of the tasks that references learn, too."""

_FAR = ((1, FAR), (2, FAR))
"""Layers and filler of the recall from far back."""


def _run(
    families: list[Family],
    settings: _Asked,
    arguments: argparse.Namespace,
    store: Store,
) -> list[str]:
    """Makes all runs; gives the notes."""
    jobs: list[Job] = []
    families = families[::-1]  # the slowest first, so that both processes end at about the same time
    for family in families:
        for factor in (1.0, *arguments.ours_rates) if family.references else arguments.ours_rates:
            jobs += [job for setting in settings.compared for job in setting.ours(family, factor)]
        jobs += [job for setting in settings.recall_of(family) for job in setting.ours(family)]
    pairs = [(family, reference) for family in families for reference in family.references]
    missing = sorted({package for _, reference in pairs if (package := is_missing(reference.key))})
    notes = [f"left out, for it is not installed: {package}" for package in missing]
    present = [] if arguments.ours_only else [pair for pair in pairs if not is_missing(pair[1].key)]
    for family, reference in present:
        jobs += [job for setting in settings.compared for job in setting.search(family, reference)]
    notes += run_all(jobs, store, arguments.processes)
    best = [
        job
        for family, reference in present
        for setting in settings.compared
        for job in setting.best(family, reference, store)
    ]
    return notes + run_all(best, store, arguments.processes)


def _report(
    families: list[Family],
    settings: _Asked,
    arguments: argparse.Namespace,
    store: Store,
) -> str:
    parts = [comparisons(families, settings.compared, store)] if settings.compared else []
    asked = [family for family in families if family.recalls]
    if settings.recalled and asked:
        parts.append("Share of right answers of ours with each seed (and the step at which it ended):\n")
        parts.append(recall(asked, settings.recalled, store))
    asked = [family for family in families if family.recalls_far]
    if settings.far and asked:
        parts.append("The same from far back:\n")
        parts.append(recall(asked, settings.far, store))
    if arguments.ours_rates:
        parts.append("Ours at other rates, one seed:\n")
        parts.append(other_rates(families, settings.compared, (1.0, *arguments.ours_rates), store))
    return "\n".join(parts)


def _heading(arguments: argparse.Namespace, minutes: float) -> str:
    took = "" if arguments.show else f", {minutes:.0f} minutes this time"
    quick = " Three steps only: no figures." if arguments.quick else ""
    return (
        f"{time.strftime('%Y-%m-%d')}, torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} "
        f"cores, {arguments.processes} runs at once with one thread each, float32, "
        f"{1 if arguments.quick else arguments.seeds} seeds{took}.{quick}"
    )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on with what is left", file=sys.stderr)
        sys.exit(130)
