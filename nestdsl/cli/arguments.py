"""The parser of the command line, which answers a wrong option where it was given."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from nestdsl.cli.guarded_imports import importing


class Parser(argparse.ArgumentParser):
    """As argparse's, but what a subcommand does not know is answered with that command's own usage, and
    `--` is the value of an option where it is one: `--prompt=--`.

    Python before 3.13 takes it away even there, and gives the command an empty list for its value.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.color = False  # from Python 3.14 on, argparse colors its help by itself

    def _get_values(self, action: argparse.Action, arg_strings: Sequence[str]) -> Any:
        if action.option_strings and action.nargs is None and list(arg_strings) == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, list(arg_strings))  # type: ignore[misc]  # a method of argparse's own

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self._refuse(unknown)
        return found, unknown

    def _refuse(self, unknown: list[str]) -> NoReturn:
        """Ends with status 2, the words that are not understood and, where one is near, what was meant."""
        pairs = zip(unknown, [*unknown[1:], ""], strict=True)
        hints = [hint for word, following in pairs if (hint := self._hint(word, following))]
        self.error("\nhelp: ".join([f"unrecognized arguments: {' '.join(unknown)}", *hints]))

    def _hint(self, word: str, following: str) -> str:
        """What may be meant by a word that is no option; "" where nothing is near."""
        if not word.startswith("--"):
            is_setting = "--set" in self._option_string_actions and word.partition("=")[0].isidentifier()
            return f"write an option for each: `--set {word}`" if is_setting and "=" in word else ""
        import difflib

        name, sign, value = word.removeprefix("--").partition("=")
        known = {one.removeprefix("--"): one for one in self._option_string_actions if one.startswith("--")}
        if near := difflib.get_close_matches(name, known, n=1):
            return f"did you mean `{known[near[0]]}`?"
        name = name.replace("-", "_")
        if "set" in known and name.isidentifier():
            value = value if sign else following
            value = "VALUE" if not value or value.startswith("-") else value
            return f"a parameter of the program is set with `--set {name}={value}`"
        return ""


class CommandParser(Parser):
    """The parser of one command, whose module is imported when the command is asked for.

    The module has `add_arguments(parser)` and `run(arguments)`, which gives the exit status.
    """

    def __init__(self, *, module: str, **options: Any) -> None:
        super().__init__(**options)
        self._module = module
        self._is_loaded = False

    def load(self) -> None:
        """Imports the module and adds its arguments. Raises NestError N0503 where memory does not hold it."""
        if self._is_loaded:
            return
        self._is_loaded = True
        with importing("nestdsl"):
            command = import_module(self._module)
        command.add_arguments(self)
        self.set_defaults(run=command.run)

    def parse_known_args(
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        self.load()
        return super().parse_known_args(args, namespace)
