"""`nestdsl explain FILE`, or an optimizer: levels with their equations. `explain N0302`: a diagnostic."""

from __future__ import annotations

import argparse
import os
import sys

from nestdsl.cli.program import add_program_arguments, load_program
from nestdsl.diagnostics.explain import explain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Every level of a program, the fastest first, with its update equation. FILE may also be "
        "an optimizer by itself, such as std.optim:m3 or mine.nest:three_speed, or the code of a diagnostic, "
        "such as N0302: this prints its page."
    )
    add_program_arguments(parser)
    parser.add_argument("--latex", action="store_true", help="write LaTeX (amsmath), for papers")


def run(arguments: argparse.Namespace) -> int:
    is_path = ":" in arguments.file or arguments.file.endswith(".nest") or os.sep in arguments.file
    if not is_path and not os.path.exists(arguments.file):
        print(explain(arguments.file))
        return 0
    nest = load_program(arguments)
    page = nest.explain()
    sys.stdout.write(page.latex if arguments.latex else page.text)
    return 0
