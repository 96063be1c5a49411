"""Reads the words of a command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any


class Parser(argparse.ArgumentParser):
    """Takes `--` for the value of an option where it is one: `--prompt=--`.

    Python before 3.13 takes it away even there, and gives the command an empty list for its value.
    """

    def _get_values(self, action: argparse.Action, arg_strings: Sequence[str]) -> Any:
        if action.option_strings and action.nargs is None and list(arg_strings) == ["--"]:
            value = self._get_value(action, "--")
            self._check_value(action, value)
            return value
        return super()._get_values(action, list(arg_strings))  # type: ignore[misc]  # a method of argparse's own
