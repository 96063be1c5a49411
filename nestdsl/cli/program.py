"""What the commands share: the arguments that name a program, and how they are read."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from nestdsl.api import Nest
from nestdsl.cli.chosen import FILE_HELP, SHOWN_SIZE, Chosen, choose
from nestdsl.cli.imports import add_import_argument
from nestdsl.cli.report import report
from nestdsl.interrupts import interrupts_held
from nestdsl.semantics.values.settings import read_settings

if TYPE_CHECKING:
    import torch

    from nestdsl.runtime.module import NestModule


def add_program_arguments(parser: argparse.ArgumentParser, file_help: str = FILE_HELP) -> None:
    """FILE, --set, --model, --no-sharing and --import."""
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
    add_import_argument(parser)


def load_program(
    arguments: argparse.Namespace,
    chosen: Chosen | None = None,
    *,
    weights: bool = True,
    size: int = SHOWN_SIZE,
) -> Nest:
    """The program that the arguments name, whose warnings are reported; raises NestError.

    chosen: what FILE means, where that is known already. Without `weights`, it starts from no file. An
    optimizer by itself drives layers of this `size`.
    """
    chosen = chosen or choose(arguments.file)
    given = read_settings(arguments.settings)
    analysis = chosen.analyse(given, arguments.model, weights=weights, size=size)
    nest = Nest(analysis, sharing=arguments.sharing)
    report(nest.diagnostics, "text", sys.stderr)
    return nest


def compile_program(program: Nest, device: torch.device, *, eager: bool, seed: int = 0) -> NestModule:
    """The model; imports what builds and compiles it, which an interrupt would leave half done."""
    with interrupts_held():
        return program.compile(device, compile=not eager, seed=seed)
