"""Draws DOT text: with the system's `dot` where there is one, else with graphviz-pure."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path
from xml.etree import ElementTree

from nestdsl.diagnostics import fail
from nestdsl.render.drawing import DrawingStopped, run_drawing

FORMATS = ("svg", "png", "pdf", "dot")

TIMEOUT_SECONDS = 120.0
"""A program that takes longer draws no picture that anybody looks at."""

MAX_BYTES = 256 * 2**20


def draw(dot: str, format: str) -> bytes:
    """The drawing of a DOT text as `svg`, `png`, `pdf` or `dot` (the text itself).

    Raises NestError (N0504) for an unknown format, for a PDF without the system's `dot`, where
    nothing that draws is installed, and where what is installed makes no picture.
    """
    if format not in FORMATS:
        raise fail("N0504", f"`{format}` is not a format of pictures", f"choose one of {', '.join(FORMATS)}")
    if format == "dot":
        return dot.encode()
    system = shutil.which("dot")
    if system is not None:
        return _run([system, f"-T{format}"], dot, format)
    if format == "pdf":
        raise fail(
            "N0504",
            "a PDF needs the program `dot`, which is not installed",
            "install graphviz (`apt install graphviz`, `brew install graphviz`), or write an .svg",
        )
    return _run([_graphviz_pure(), f"-T{format}"], dot, format)


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


def _run(command: list[str], dot: str, format: str) -> bytes:
    """What a program that draws makes of a DOT text. Raises NestError N0504 unless that is a picture."""
    name = command[0]
    hint = _WITHOUT_DOT if Path(name).stem == "dot" else "install graphviz, or write a .dot"
    try:
        drawn = run_drawing(command, dot.encode(), TIMEOUT_SECONDS, MAX_BYTES)
    except OSError as error:
        raise fail("N0504", f"{name} cannot be run: {error.strerror}", hint) from error
    except DrawingStopped as error:
        raise fail("N0504", f"{name} was stopped: {error}", hint) from error
    if drawn.status != 0:
        reason = f"signal {-drawn.status}" if drawn.status < 0 else f"exit status {drawn.status}"
        lines = drawn.errors.strip().splitlines()
        raise fail("N0504", f"{name} could not draw this: {lines[0] if lines else reason}", hint)
    if not _is_picture(drawn.picture, format):
        what = "something else" if drawn.picture else "nothing"
        raise fail("N0504", f"{name} was to write {format.upper()} and wrote {what}", hint)
    return drawn.picture


def _is_picture(data: bytes, format: str) -> bool:
    """Whether this is a whole picture: for SVG as XML, else as far as its beginning and its end tell."""
    if format == "svg":
        return _is_svg(data)
    start, end = {"png": (b"\x89PNG", b"IEND"), "pdf": (b"%PDF", b"%%EOF")}[format]
    return data.startswith(start) and end in data[-_TAIL_BYTES:]


def _is_svg(data: bytes) -> bool:
    try:
        text = data.decode("utf-8")
        return "<svg" in text and ElementTree.fromstring(text).tag.endswith("svg")
    except (UnicodeDecodeError, ElementTree.ParseError):
        return False


_TAIL_BYTES = 1024

_WITHOUT_DOT = "look at `dot -V`, or write a .dot; without `dot` in PATH, nestdsl draws by itself"
