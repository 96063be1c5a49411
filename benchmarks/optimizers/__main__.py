"""`python -m benchmarks.optimizers`: the table of docs/optimizers.md and its picture."""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.__main__ import write_between_marks
from benchmarks.optimizers.curves import drawn
from benchmarks.optimizers.runs import CONTENDERS, SETTINGS, Run, Summary, run
from benchmarks.optimizers.timing import Times, timed
from nestdsl.runtime.optimizer.precision import fast_precision
from nestdsl.training.data.interface import Data
from nestdsl.training.data.sources import read_data
from nestdsl.training.settings import Settings

COLUMNS = ("optimizer", "rates", "held out, at each", "best rate, over seeds", "a step", "its optimizer")


def main() -> int:
    names = [contender.name for contender in CONTENDERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimizers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which (default: all): {', '.join(names)}")
    parser.add_argument(
        "--steps", type=int, default=SETTINGS.steps, help="of each run (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs at each rate (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch (default: %(default)s)")
    parser.add_argument("--markdown", metavar="FILE", help="write the table into FILE, between its marks")
    parser.add_argument("--svg", metavar="FILE", help="draw the losses of each one's best rate")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(names)):
        parser.error(f"nothing is called {', '.join(unknown)}: there are {', '.join(names)}")
    torch.set_num_threads(arguments.threads)
    data, settings = read_data("stdlib"), replace(SETTINGS, steps=arguments.steps)
    summaries = compare(arguments.names or names, data, settings, arguments.seeds)
    times = timed([one.contender for one in summaries], data, settings)
    table = as_markdown(summaries, times, _heading(arguments, data, settings))
    print(table, end="")
    if arguments.markdown:
        write_between_marks(Path(arguments.markdown), table)
    if arguments.svg:
        curves = {one.contender.name: one.curve() for one in summaries}
        lowest = math.floor(2 * min(min(curve) for curve in curves.values())) / 2
        picture = drawn(curves, lowest, lowest + 3, "steps", "training loss, bits per byte")
        Path(arguments.svg).write_text(picture, encoding="utf-8")
    return 0


def compare(names: Sequence[str], data: Data, settings: Settings, seeds: int) -> list[Summary]:
    """All runs: every contender at every rate with every seed."""
    chosen = [contender for contender in CONTENDERS if contender.name in names]
    runs: dict[tuple[str, float], list[Run]] = {}
    for seed in range(seeds):
        for place in range(3):
            for contender in chosen:
                rate = contender.rates[place]
                one = run(contender, rate, data, seed, settings)
                runs.setdefault((contender.name, rate), []).append(one)
                print(
                    f"{contender.name} {rate:g} seed {seed}: {one.held_out:.3f}", file=sys.stderr, flush=True
                )
    return [
        Summary(contender, {rate: tuple(runs[contender.name, rate]) for rate in contender.rates})
        for contender in chosen
    ]


def as_markdown(summaries: Sequence[Summary], times: Mapping[str, Times], heading: str) -> str:
    """The table of the page."""
    lines = [
        heading,
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---|---|---|---|---|---|",
    ]
    for one in summaries:
        rates = one.contender.rates
        losses = [
            f"{one.held_out(rate):.3f}" if one.held_out(rate) < math.inf else "diverges" for rate in rates
        ]
        losses[rates.index(one.best_rate)] = f"**{losses[rates.index(one.best_rate)]}**"
        ends = sorted(run.held_out for run in one.best)
        cells = (
            f"`{one.contender.name}`",
            ", ".join(f"{rate:g}" for rate in rates),
            ", ".join(losses),
            f"{ends[0]:.3f} to {ends[-1]:.3f}",
            f"{1e3 * times[one.contender.name].step:.1f} ms",
            f"{1e3 * times[one.contender.name].optimizer:.1f} ms",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _heading(arguments: argparse.Namespace, data: Data, settings: Settings) -> str:
    machine = f"torch {torch.__version__}, {platform.machine()}, {os.cpu_count()} cores"
    return (
        f"{time.strftime('%Y-%m-%d')}, {machine}, {arguments.threads} thread, float32, Newton-Schulz in "
        f"{fast_precision([torch.device('cpu')])}. Bits a byte "
        f"after {settings.steps} steps of {settings.batch} sequences of {settings.tokens} bytes, "
        f"{arguments.seeds} seeds each; times of compiled steps, in turns."
    )


if __name__ == "__main__":
    sys.exit(main())
