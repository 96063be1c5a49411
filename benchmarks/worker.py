"""The process in which a row is measured: `python -m benchmarks.worker ORDER`, an order as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from dataclasses import asdict, replace
from pathlib import Path

SAID = "benchmarks: "
"""What lines begin with that whoever waits should see; the others are those of torch and of peers."""


def say(text: str) -> None:
    """Says what is done now."""
    print(f"{SAID}  {text}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__)
    parser.add_argument(
        "order", metavar="ORDER", type=json.loads, help="what to measure; `benchmarks/run.py` writes it"
    )
    order = parser.parse_args().order
    import torch

    from benchmarks.measure import measure, whole_peak
    from benchmarks.rows import ROWS
    from nestdsl.runtime.compile_progress import compiling_shown

    warnings.simplefilter("ignore")
    torch.set_num_threads(order["threads"])
    torch.manual_seed(0)
    row = next(row for row in ROWS if row.key == order["key"])
    contenders = [one for one in row.contenders(order["quick"]) if one.name in order["names"]]
    clock = time.process_time if order["cpu_time"] else time.perf_counter
    repeats = 0 if row.isolated else 1 if order["quick"] else row.repeats
    with compiling_shown(None, say):
        figures = measure(contenders, repeats, order["seconds"], clock, say)
    if row.isolated:
        figures = [replace(figure, peak_mib=whole_peak()) for figure in figures]
    Path(order["out"]).write_text(json.dumps([asdict(figure) for figure in figures]), encoding="utf-8")


if __name__ == "__main__":
    main()
