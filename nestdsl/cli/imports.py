"""`--import MODULE`: kinds and functions of one's own Python, declared before a program is read."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from nestdsl.diagnostics import NestError, fail
from nestdsl.given import is_module_name
from nestdsl.interrupts import interrupts_held
from nestdsl.memory import was_refused
from nestdsl.ranges import shown


def add_import_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--import",
        metavar="MODULE",
        action="append",
        default=[],
        dest="modules",
        help="import this Python module first, which declares kinds or functions: my.module is looked for "
        "in this folder and where Python looks; may be given again",
    )


def import_modules(names: Sequence[str]) -> None:
    """Imports modules by name. Raises NestError N0105 for what is no module, and for one that raises."""
    for name in names:
        _verify_name(name)
        try:
            with _this_folder_first(), interrupts_held():  # it imports torch, which an interrupt breaks
                import_module(name)
        except NestError:
            raise
        except (Exception, SystemExit) as error:  # a module of the user's can raise anything
            if was_refused(error):
                raise
            raise _not_imported(name, error) from error


def _verify_name(name: str) -> None:
    is_file = name.endswith(".py") and (os.sep in name or not os.path.exists(name[:-3]))
    if not is_file and is_module_name(name):
        return
    module = name.removesuffix(".py").replace(os.sep, ".").strip(".")
    meant = module if is_file and is_module_name(module) else "my.module"
    hint = f"write it as in Python: `--import {meant}`"
    raise fail("N0105", f"{shown(name)} is no name of a Python module", hint)


@contextmanager
def _this_folder_first() -> Iterator[None]:
    """Inside, modules are looked for in this folder first, as `python -m` does; afterwards it comes last, so
    that nothing there takes the place of a module that nestdsl imports later."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def _not_imported(name: str, error: BaseException) -> NestError:
    if isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
        hint = f"look for {name.replace('.', os.sep)}.py in this folder, or install what has it"
        return fail("N0105", f"there is no Python module `{error.name}`", hint)
    last = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error).strip().partition("\n")[0]
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    hint = f"correct line {last.lineno} of {last.filename}" if last.filename[:1] != "<" else "correct it"
    return fail("N0105", f"the Python module `{name}` cannot be imported: {what}", hint)
