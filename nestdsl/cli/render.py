"""`nestdsl render`: a picture of a program."""

from __future__ import annotations

import argparse
from pathlib import Path

from nestdsl.cli.chosen import choose
from nestdsl.cli.program import add_program_arguments, load_program
from nestdsl.render.notebook import SUFFIXES, format_of
from nestdsl.render.views import VIEWS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Draws what nests in what, or the data flow. The levels of an optimizer by itself, "
        "such as mine.nest:three_speed, are drawn inside of a small layer that it drives. Uses the system's "
        "`dot` where there is one."
    )
    add_program_arguments(parser)
    parser.add_argument(
        "--view",
        choices=tuple(VIEWS),
        default="nesting",
        help="nesting: levels by how often they are updated, slow outside and fast inside; "
        "flow: the data flow (default: %(default)s)",
    )
    parser.add_argument(
        "--optimizers",
        action="store_true",
        help="draw the levels of optimizers too: memories of gradients, inside of the weights they drive",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help=f"the file to write, a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} as its suffix says "
        "(default: the name of FILE, or NAME, with .svg, in this folder)",
    )


def run(arguments: argparse.Namespace) -> int:
    chosen = choose(arguments.file)
    output = Path(f"{chosen.stem}.svg" if arguments.output is None else arguments.output)
    format_of(output)
    nest = load_program(arguments, chosen)
    nest.render(arguments.view, optimizers=arguments.optimizers or chosen.is_optimizer).save(output)
    print(output)
    return 0
