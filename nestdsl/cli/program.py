"""What the commands share: the arguments that name a program, and how they are read."""

from __future__ import annotations

import argparse

from nestdsl.api import Nest
from nestdsl.cli.chosen import SHOWN_SIZE, Chosen, choose
from nestdsl.semantics.values.settings import read_settings

FILE_HELP = (
    "the program, a `.nest` file, or one model or optimizer of a file, as FILE:NAME: `mine.nest:small`, "
    "`std.optim:m3`"
)


def add_program_arguments(parser: argparse.ArgumentParser, file_help: str = FILE_HELP) -> None:
    """FILE, --set, --model and --no-sharing."""
    parser.add_argument("file", metavar="FILE", help=file_help)
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="set a parameter of the program, in the language's own expressions: --set depth=2*4",
    )
    parser.add_argument("--model", metavar="NAME", help="the model to take, if the file declares several")
    parser.add_argument(
        "--no-sharing",
        action="store_false",
        dest="sharing",
        help="let each memory work by itself, even where several could work as one: the same result, slower",
    )


def load_program(
    arguments: argparse.Namespace,
    chosen: Chosen | None = None,
    *,
    weights: bool = True,
    size: int = SHOWN_SIZE,
) -> Nest:
    """The program that the arguments name; raises NestError.

    chosen: what FILE means, where that is known already. Without `weights`, it starts from no file. An
    optimizer by itself drives layers of this `size`.
    """
    chosen = chosen or choose(arguments.file)
    given = read_settings(arguments.settings)
    analysis = chosen.analyse(given, arguments.model, weights=weights, size=size)
    return Nest(analysis, sharing=arguments.sharing)
