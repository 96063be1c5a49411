"""`nestdsl compile`: a program as its plan, or any form on the way."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from nestdsl.api import Nest
from nestdsl.cli.guarded_imports import importing_torch
from nestdsl.cli.program import add_program_arguments, load_program
from nestdsl.files import write_whole
from nestdsl.terminal import columns

_WIDTH = 140
"""Columns of a table that no terminal shows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Compiles a program, and shows its levels or any form on the way. An optimizer by "
        "itself, such as mine.nest:three_speed, is shown as it drives two small layers."
    )
    add_program_arguments(parser)
    parser.add_argument(
        "--emit",
        choices=tuple(_EMIT),
        help="ast: the syntax tree; graph: levels and flows as networkx node-link JSON; "
        "plan: the compiled model as YAML; python: the model's source",
    )
    parser.add_argument("-o", "--output", metavar="OUT", help="write to this file")
    parser.add_argument(
        "--verify",
        action="store_true",
        help="build the model and compare it with its plan, compiled with eager; exit status 1 if nothing "
        "can be compiled here",
    )


def run(arguments: argparse.Namespace) -> int:
    nest = load_program(arguments)
    if arguments.emit is None and arguments.output is None and not arguments.verify:
        print(_summary(nest))
    if arguments.emit is not None or arguments.output is not None:
        text = _EMIT[arguments.emit or "plan"](nest).removesuffix("\n") + "\n"
        if arguments.output is None:
            sys.stdout.write(text)
        else:
            write_whole(arguments.output, text.encode("utf-8"), "choose another place with -o")
    if arguments.verify:
        with importing_torch():
            from nestdsl.runtime.verification import verify_model

        found = verify_model(nest.plan, lambda text: print(text, file=sys.stderr))
        print(found.text)
        return 0 if found.compiled else 1
    return 0


def _summary(nest: Nest) -> str:
    from nestdsl.cli.summary import summary

    width = columns(sys.stdout)
    return summary(nest.plan, _WIDTH if width is None else max(80, width))


def _ast(nest: Nest) -> str:
    from nestdsl.syntax.dump import dump
    from nestdsl.syntax.parser import parse

    return dump(parse(nest.source)[0])


def _graph(nest: Nest) -> str:
    from nestdsl.graph.json import to_json

    return to_json(nest.nest_graph)


def _plan(nest: Nest) -> str:
    from nestdsl.plan.yaml import to_yaml

    return to_yaml(nest.plan)


def _python(nest: Nest) -> str:
    from nestdsl.runtime.python_source import python_source

    return python_source(nest.plan)


_EMIT: dict[str, Callable[[Nest], str]] = {"ast": _ast, "graph": _graph, "plan": _plan, "python": _python}
