"""`python -m benchmarks [ROW ...]`: the table, or some of its rows."""

from __future__ import annotations

import argparse
import inspect
import os
import platform
import shutil
import sys
import time
from pathlib import Path

THREADS = 2


def main() -> int:
    from benchmarks.rows import ROWS
    from benchmarks.run import run_row
    from benchmarks.table import as_json, as_markdown, as_text, from_json

    keys = [row.key for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"which rows (default: all): {', '.join(keys)}"
    )
    parser.add_argument("--list", action="store_true", help="say what each row compares, and why it is fair")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does everything run? no figures")
    parser.add_argument(
        "--threads", type=int, default=THREADS, help="threads of torch (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="how long a row goes on repeating (default: %(default)s)"
    )
    parser.add_argument(
        "--cpu-time", action="store_true", help="measure processor time: for a machine that has other work"
    )
    parser.add_argument("--markdown", metavar="FILE", help="write the table into FILE, between its marks")
    parser.add_argument(
        "--json",
        metavar="FILE",
        help="write all figures to FILE; what it holds of other rows stays, in --markdown too",
    )
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.rows) - set(keys))
    if unknown:
        parser.error(f"no row is called {', '.join(unknown)}: there are {', '.join(keys)}")
    chosen = [row for row in ROWS if not arguments.rows or row.key in arguments.rows]
    if arguments.list:
        for row in chosen:
            print(f"{row.key}: {row.title}\n\n{inspect.getdoc(row.contenders)}\n")
        return 0
    results = []
    for number, row in enumerate(chosen, 1):
        started = time.perf_counter()
        print(f"{row.key} ({number} of {len(chosen)}): {row.title}", file=sys.stderr, flush=True)
        results.append(
            run_row(row, arguments.quick, arguments.threads, arguments.seconds, arguments.cpu_time)
        )
        print(f"  done in {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    print(as_text(results, max(100, shutil.get_terminal_size((140, 24)).columns)), end="")
    if arguments.json and Path(arguments.json).exists():
        measured = {result.key for result in results}
        kept = from_json(Path(arguments.json).read_text(encoding="utf-8"))
        results += [result for result in kept if result.key not in measured and result.key in keys]
        results.sort(key=lambda result: keys.index(result.key))
    heading = _heading(arguments)
    if arguments.markdown:
        write_between_marks(Path(arguments.markdown), as_markdown(results, heading))
    if arguments.json:
        Path(arguments.json).write_text(as_json(results, heading), encoding="utf-8")
    return 0


def _heading(arguments: argparse.Namespace) -> str:
    import torch

    clock = "processor time" if arguments.cpu_time else "wall time"
    quick = ", tiny sizes" if arguments.quick else ""
    return (
        f"{time.strftime('%Y-%m-%d')}, torch {torch.__version__}, {platform.machine()}, "
        f"{os.cpu_count()} cores, {arguments.threads} threads, float32, medians of {clock}{quick}."
    )


BEGIN, END = "<!-- made by python -m benchmarks: begin -->", "<!-- end -->"


def write_between_marks(path: Path, table: str) -> None:
    """Replaces what stands between the marks of a page; a page without them becomes the table."""
    old = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = old.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path} has no place for the table: the lines `{BEGIN}` and `{END}`")
    path.write_text(f"{before}{BEGIN}\n{table}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
