"""What the commands share: the arguments that name a program, and how they are read."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

from nestdsl.api import Nest
from nestdsl.compiler import analyse
from nestdsl.diagnostics import NestError, fail
from nestdsl.semantics.optimizers.named import LIBRARY, NamedOptimizer, named_optimizer
from nestdsl.semantics.parameters import parameter_meant
from nestdsl.semantics.settings import Setting, read_settings
from nestdsl.source import Source
from nestdsl.syntax.files import read_source


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
    analysis = analyse(source, read_settings(arguments.settings), arguments.model, weights=weights)
    return Nest(analysis, sharing=arguments.sharing)


def names_optimizer(file: str) -> bool:
    """Whether FILE means an optimizer by itself, as in `mine.nest:two_speed`."""
    return ":" in file and not os.path.exists(file)


def load_shown(arguments: argparse.Namespace) -> Nest:
    """What is to be shown: a program, or an optimizer by itself; raises NestError."""
    if names_optimizer(arguments.file):
        return load_optimizer(arguments.file, read_settings(arguments.settings))
    return load_program(arguments)


def load_optimizer(name: str, given: Mapping[str, Setting] | None = None) -> Nest:
    """A small model that an optimizer drives, `std.optim:m3` or `mine.nest:two_speed`, to show it by itself.

    `given` sets parameters of the optimizer, or of its file. Raises NestError for one that is not there,
    for settings that it does not take, and for whatever is wrong with its file.
    """
    optimizer = named_optimizer(name)  # which says what is missing
    given = given or {}
    arguments = _arguments(optimizer, given)
    others = {one: setting for one, setting in given.items() if one not in arguments}
    place, _, own = name.rpartition(":")
    source = Source(f"use {place}\n", place) if place == LIBRARY else read_source(place)
    text = (
        f"{source.text}\n{_DRIVEN.format(name=own, call=optimizer.written(arguments) if arguments else own)}"
    )
    return Nest(analyse(Source(text, source.name, source.path), others, f"{own}_alone"))


def _arguments(optimizer: NamedOptimizer, given: Mapping[str, Setting]) -> dict[str, str]:
    """What settings say of the parameters of an optimizer; raises NestError for those that cannot be."""
    known = [*optimizer.parameters, *optimizer.parameters_of_file]
    arguments: dict[str, str] = {}
    for name, setting in given.items():
        if name not in known:
            message = f"{setting.shown}: `{optimizer.name}` has no parameter `{name}`"
            raise fail("N0106", message, parameter_meant(name, known))
        if name not in optimizer.parameters:
            continue
        try:
            optimizer.program({name: setting.value_text})
        except NestError as error:
            raise NestError(setting.told(one) for one in error.diagnostics) from None
        arguments[name] = setting.value_text
    return arguments


_DRIVEN = """model {name}_alone {{
  input vectors(4)
  level layer = linear(4)
  flow out = in -> layer -> linear(4)
  train {{ objective mse  optimizer {call} }}
}}
"""
"""Weights of every sort: a matrix of a hidden level, a vector, and the level that makes the output."""
