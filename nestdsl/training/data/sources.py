"""All data sources: what `--data` takes."""

from __future__ import annotations

import os
from collections.abc import Callable

from nestdsl.diagnostics import fail
from nestdsl.given import path_text
from nestdsl.memory import fits_memory
from nestdsl.semantics.suggestions import did_you_mean, listed
from nestdsl.training.data.formal_languages import FORMAL_LANGUAGES
from nestdsl.training.data.interface import TASK, Data
from nestdsl.training.data.rotations import RotationData
from nestdsl.training.data.text import read_text
from nestdsl.training.data.text_files import SOURCES

TASKS: dict[str, Callable[[], Data]] = {**FORMAL_LANGUAGES, "rotations": RotationData}
"""The data of each `task:NAME`. All other sources are text."""


def read_data(source: str | os.PathLike[str]) -> Data:
    """Reads a data source: `task:NAME`, or text, of which `text_files.read_texts` says what it can be.

    Raises NestError: N0104 for what names none, such as an array, N0501 for a task that does not exist, N0503
    for more text than memory holds, and as `read_texts` does.
    """
    source = path_text("`data`", source, f"the name of {SOURCES}")
    if not source.startswith(TASK):
        with fits_memory(f"the text of `{source}`", "give a part of it: all text is held in memory"):
            return read_text(source)
    name = source.removeprefix(TASK)
    if name not in TASKS:
        hint = did_you_mean(name, TASKS, f"there are {listed(TASKS)}")
        raise fail("N0501", f"there is no task `{name}`", hint=hint)
    return TASKS[name]()
