"""The folder of a run, as users name it. No torch here."""

from __future__ import annotations

import os
from pathlib import Path

from nestdsl.diagnostics import fail
from nestdsl.given import path_text


def run_folder(path: str | os.PathLike[str], name: str) -> Path:
    """The folder of a run that was given for `name`.

    Raises NestError N0104 for what is no string or path, and N0003 for what can be no path: `Path("")` would
    mean the folder that one is in.
    """
    text = path_text(name, path, "the folder of a run, as a string or a path")
    if not text or "\0" in text or not _has_bytes(text):
        what = "no path of this system" if text else "empty"
        raise fail("N0003", f"{name} is {what}", "give the folder of a run")
    return Path(text)


def _has_bytes(path: str) -> bool:
    """Whether the system has bytes for every character of a path."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True
