"""What FILE means on the command line: a program, or one model or optimizer of a file, as FILE:NAME."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nestdsl.compiler import Analysis, analyse
from nestdsl.diagnostics import NestError, fail
from nestdsl.semantics.elaborate.optimizers.named import LIBRARY, NamedOptimizer, named_optimizer
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.semantics.values.overrides import parameter_meant
from nestdsl.semantics.values.settings import Setting
from nestdsl.source import Source
from nestdsl.syntax import ast
from nestdsl.syntax.files import read_source
from nestdsl.syntax.parser import parse

FILE_HELP = (
    "the program, a `.nest` file, or one model or optimizer of a file, as FILE:NAME: `mine.nest:small`, "
    "`std.optim:m3`"
)

SHOWN_SIZE = 4
"""Of the layers that an optimizer drives where it is looked at by itself."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A source, and what is meant of it: all, or the model or optimizer `name`."""

    source: Source
    name: str = ""
    is_optimizer: bool = False

    @property
    def stem(self) -> str:
        """How files made from it are called by default."""
        return self.name or Path(self.source.name).stem

    def analyse(
        self,
        given: Mapping[str, Setting] | None = None,
        model: str | None = None,
        *,
        weights: bool = True,
        size: int = SHOWN_SIZE,
    ) -> Analysis:
        """Every mistake, and the graphs. An optimizer by itself drives two layers of this `size`.

        `given` sets parameters of the file, or of the optimizer. Raises NestError N0103 where a `model` is
        chosen and the name chooses, too, and for settings that the optimizer does not take.
        """
        if model is not None and self.name:
            raise fail(
                "N0103",
                f"`{self.source.name}:{self.name}` names what to take, and so does `--model {model}`",
                "leave one of them out",
            )
        if not self.is_optimizer:
            return analyse(self.source, given, self.name or model, weights=weights)
        optimizer = NamedOptimizer(self.source, self.name)
        arguments = _arguments(optimizer, given or {})
        others = {name: setting for name, setting in (given or {}).items() if name not in arguments}
        call = optimizer.written(arguments) if arguments else self.name
        text = f"{self.source.text}\n{_DRIVEN.format(name=self.name, call=call, size=size)}"
        source = Source(text, self.source.name, self.source.path)
        return analyse(source, others, f"{self.name}_alone", weights=weights)


def choose(file: str) -> Chosen:
    """What FILE on the command line means. Raises NestError for what is not there."""
    if not _names_one(file):
        return Chosen(read_source(file))
    place, _, name = file.rpartition(":")
    if place == LIBRARY:
        named_optimizer(file)  # which says what is missing
        return Chosen(Source(f"use {LIBRARY}\n", place), name, is_optimizer=True)
    source = read_source(place)
    declarations = parse(source)[0].declarations
    models = [one.name.text for one in declarations if isinstance(one, ast.Model)]
    known = models + [one.name.text for one in declarations if isinstance(one, ast.Optimizer)]
    if not name:
        raise fail(
            "N0101",
            f"`{file}` has no name after the colon",
            f"`{place}` has {listed(known)}" if known else "",
        )
    if name in models:
        return Chosen(source, name)
    try:
        named_optimizer(file)
    except NestError as error:
        if not models or [found.code for found in error.diagnostics] != ["N0101"]:
            raise
        hint = did_you_mean(name, known, f"it has {listed(known)}")
        raise fail("N0101", f"`{place}` has no model and no optimizer `{name}`", hint) from error
    return Chosen(source, name, is_optimizer=True)


def _names_one(file: str) -> bool:
    """Whether FILE is FILE:NAME, as in `mine.nest:two_speed`, and no file by itself."""
    place, sign, name = file.rpartition(":")
    is_name = name.isidentifier() or not name
    return bool(sign and place) and is_name and not os.path.exists(file)


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
  input vectors({size})
  level layer = linear({size})
  flow out = in -> layer -> linear({size})
  train {{ objective mse  optimizer {call} }}
}}
"""
"""Weights of every sort: a matrix of a hidden level, a vector, and the level that makes the output."""
