"""What each `gradient` setting costs: `python -m benchmarks.gradients`.

HOPE of 2 layers, d 64, with levels that learn in context at 64, 128, 256 and 512 tokens: a loss and its
backward pass on 2 sequences of 512 and of 2048 tokens, uncompiled, one thread, each setting in a process of
its own. Time is CPU time; memory is what the process held at its peak beyond what it held before the step.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from resource import RUSAGE_SELF, getrusage

SETTINGS = (
    ("stop", "truncated(1)"),
    ("stop", "truncated(2)"),
    ("stop", "through"),
    ("truncated(1)", "through"),
    ("through", "through"),
)
"""Of the levels that learn from surprise, and of the memories."""

LENGTHS = (512, 2048)


def measure(levels: str, memories: str, tokens: int) -> tuple[float, float]:
    """Seconds of CPU and MiB at the peak, of one loss and its backward pass."""
    from importlib.resources import files

    import torch

    import nestdsl

    torch.set_num_threads(1)
    text = files("benchmarks.programs").joinpath("hope.nest").read_text()
    text = text.replace("gradient truncated(1)", f"gradient {memories}")
    text = text.replace("gd(step = 0.01)", f"gd(step = 0.01)   gradient {levels}")
    sizes = {"dim": 64, "depth": 2, "period": 64, "ratio": 2}
    model = nestdsl.parse(text, **sizes).compile(compile=False)
    ids = torch.randint(256, (2, tokens + 1), generator=torch.Generator().manual_seed(0))
    model.loss(ids[:, :64], ids[:, 1:65]).backward()
    before, started = _peak(), time.process_time()
    model.loss(ids[:, :-1], ids[:, 1:]).backward()
    return time.process_time() - started, _peak() - before


def _peak() -> float:
    return getrusage(RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradients", description=__doc__)
    parser.add_argument(
        "--one",
        nargs=3,
        metavar=("LEVELS", "MEMORIES", "TOKENS"),
        help="measure one setting in this process, such as `--one stop through 512`: prints seconds and MiB "
        "(default: all settings, as a table)",
    )
    arguments = parser.parse_args()
    if arguments.one:
        levels, memories, tokens = arguments.one
        if (levels, memories) not in SETTINGS or not tokens.isdecimal() or int(tokens) < 1:
            parser.error(f"LEVELS and MEMORIES are one of {SETTINGS}, TOKENS is a whole number from 1 on")
        print(*measure(levels, memories, int(tokens)))
        return 0
    print("| levels | memories | " + " | ".join(f"{tokens} tokens" for tokens in LENGTHS) + " |")
    print("|---|---|" + "---|" * len(LENGTHS))
    for levels, memories in SETTINGS:
        cells = []
        for tokens in LENGTHS:
            command = [sys.executable, "-m", "benchmarks.gradients", "--one", levels, memories, str(tokens)]
            found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
            cells.append(f"{float(found[0]):.1f} s, {float(found[1]):.0f} MiB")
        print(f"| `{levels}` | `{memories}` | " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
