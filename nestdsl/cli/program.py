"""What the commands share: the arguments that name a program, and how they are read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

from nestdsl.api import Nest
from nestdsl.compiler import analyse
from nestdsl.diagnostics import NestError, fail
from nestdsl.semantics.optimizers.named import LIBRARY, named_optimizer
from nestdsl.semantics.parameters import Override
from nestdsl.source import Source
from nestdsl.syntax import ast
from nestdsl.syntax.files import read_source
from nestdsl.syntax.parser import parse


def add_program_arguments(parser: argparse.ArgumentParser) -> None:
    """FILE, --set, --model and --no-sharing."""
    parser.add_argument("file", metavar="FILE", help="the program, a `.nest` file")
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


def load_program(arguments: argparse.Namespace, *, weights: bool = True) -> Nest:
    """The program that the arguments name; raises NestError. Without `weights`, it starts from no file."""
    source = read_source(arguments.file)
    analysis = analyse(source, overrides(arguments.settings), arguments.model, weights=weights)
    return Nest(analysis, sharing=arguments.sharing)


def names_optimizer(file: str) -> bool:
    """Whether FILE means an optimizer by itself, as in `mine.nest:two_speed`."""
    return ":" in file and not os.path.exists(file)


def load_shown(arguments: argparse.Namespace) -> Nest:
    """What is to be shown: a program, or an optimizer by itself; raises NestError."""
    if names_optimizer(arguments.file):
        return load_optimizer(arguments.file, overrides(arguments.settings))
    return load_program(arguments)


def load_optimizer(name: str, given: Mapping[str, Override] | None = None) -> Nest:
    """A small model that an optimizer drives, `std.optim:m3` or `mine.nest:two_speed`, to show it by itself.

    Raises NestError for one that is not there, and for whatever is wrong with its file.
    """
    named_optimizer(name)  # which says what is missing
    place, _, own = name.rpartition(":")
    source = Source(f"use {place}\n", place) if place == LIBRARY else read_source(place)
    text = f"{source.text}\n{_DRIVEN.format(optimizer=own)}"
    return Nest(analyse(Source(text, source.name, source.path), given, f"{own}_alone"))


_DRIVEN = """model {optimizer}_alone {{
  input vectors(4)
  level layer = linear(4)
  flow out = in -> layer -> linear(4)
  train {{ objective mse  optimizer {optimizer} }}
}}
"""
"""Weights of every sort: a matrix of a hidden level, a vector, and the level that makes the output."""


def overrides(settings: list[str]) -> dict[str, Override]:
    """`name=expression` settings as expressions of the language; raises NestError."""
    found: dict[str, Override] = {}
    for setting in settings:
        name, sign, _ = setting.partition("=")
        source = Source(f"param {setting}\n", "--set")
        program, diagnostics = parse(source)
        declared = program.declarations[0] if len(program.declarations) == 1 else None
        if not sign or diagnostics or not isinstance(declared, ast.Param):
            if sign and diagnostics:
                raise NestError(diagnostics)
            raise fail("N0106", f"--set {setting} does not say NAME=VALUE", "write `--set dim=512`")
        if name.strip() in found:
            raise fail("N0106", f"`{name.strip()}` is set twice", "leave one of them out")
        found[declared.name.text] = declared.value
    return found
