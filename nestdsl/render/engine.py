"""Draws DOT text: with the system's `dot` where there is one, else with graphviz-pure."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from nestdsl.diagnostics import fail

FORMATS = ("svg", "png", "pdf", "dot")


def draw(dot: str, format: str) -> bytes:
    """The drawing of a DOT text as `svg`, `png`, `pdf` or `dot` (the text itself).

    Raises NestError (N0504) for an unknown format, for a PDF without the system's `dot`, and
    where nothing that draws is installed.
    """
    if format not in FORMATS:
        raise fail("N0504", f"`{format}` is not a format of pictures", f"choose one of {', '.join(FORMATS)}")
    if format == "dot":
        return dot.encode()
    system = shutil.which("dot")
    if system is not None:
        return _run([system, f"-T{format}"], dot)
    if format == "pdf":
        raise fail(
            "N0504",
            "a PDF needs the program `dot`, which is not installed",
            "install graphviz (`apt install graphviz`, `brew install graphviz`), or write an .svg",
        )
    return _run([_graphviz_pure(), f"-T{format}"], dot)


def _graphviz_pure() -> str:
    """The program that the package graphviz-pure installs beside this interpreter."""
    name = "graphviz-pure.exe" if sys.platform == "win32" else "graphviz-pure"
    beside = Path(sysconfig.get_path("scripts"), name)
    found = str(beside) if beside.exists() else shutil.which("graphviz-pure")
    if found is None:
        raise fail(
            "N0504",
            "nothing that draws is installed",
            "`pip install graphviz-pure`, or install graphviz; or write a .dot",
        )
    return found


def _run(command: list[str], dot: str) -> bytes:
    try:
        done = subprocess.run(command, input=dot.encode(), capture_output=True, check=False)
    except OSError as error:
        raise fail("N0504", f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip().splitlines()
        raise fail(
            "N0504", f"{command[0]} could not draw this: {message[0] if message else 'no reason given'}"
        )
    return done.stdout
