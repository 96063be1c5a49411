"""`nestdsl explain N0302`: the page of a diagnostic."""

from __future__ import annotations

import argparse

from nestdsl.diagnostics.explain import explain


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser("explain", help="explain a diagnostic, with an example")
    parser.add_argument("code", metavar="CODE", help="the code of a diagnostic, such as N0302")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    print(explain(arguments.code))
    return 0
