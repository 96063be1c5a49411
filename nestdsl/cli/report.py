"""Prints diagnostics in the format that a command asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from nestdsl.diagnostics import Diagnostic
from nestdsl.limits import MAX_SHOWN
from nestdsl.terminal import columns, is_colored, styled

FORMATS = ("text", "json", "github")


def report(diagnostics: Sequence[Diagnostic], format: str, stream: TextIO) -> None:
    """Writes the diagnostics; nothing if there are none."""
    if not diagnostics:
        return
    from nestdsl.diagnostics.render import render_github, render_json, render_text

    match format:
        case "json":
            print(render_json(diagnostics), file=stream)
        case "github":
            print(render_github(diagnostics), file=stream)
        case _:
            text = render_text(diagnostics[:MAX_SHOWN], is_colored(stream), columns(stream))
            if len(diagnostics) > MAX_SHOWN:
                more = len(diagnostics) - MAX_SHOWN
                text += f" shown, and {more} more found: correct these first, or see all with --format json"
            print(text, file=styled(stream))
