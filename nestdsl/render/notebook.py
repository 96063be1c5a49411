"""What `nest.render(...)` gives back: a picture that shows itself in a notebook and can be saved."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nestdsl.diagnostics import fail
from nestdsl.files import write_whole
from nestdsl.given import path_text
from nestdsl.graph.nest import NestGraph
from nestdsl.render.engine import FORMATS, draw
from nestdsl.render.page import page
from nestdsl.render.views import VIEWS

SUFFIXES = (*FORMATS, "html")
"""What a picture can be saved as."""


@dataclass(frozen=True)
class Picture:
    """A view of a model. `dot` is its text in the language of Graphviz; drawn only when asked for."""

    title: str
    dot: str

    @cached_property
    def svg(self) -> str:
        """The picture as one `<svg>` element."""
        drawn = draw(self.dot, "svg").decode("utf-8")
        return drawn[drawn.index("<svg") :].rstrip()

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes svg, png, pdf, dot or html, as the path's suffix says.

        Raises NestError N0504 for another suffix, for a PDF where no `dot` is installed, and if
        the path cannot be written.
        """
        target = Path(path_text("`path`", path, "the file to write, as a string or a path"))
        write_whole(target, self._drawn(format_of(target)), "choose another place")

    def _drawn(self, format: str) -> bytes:
        if format == "html":
            return page(self.title, self.svg).encode("utf-8")
        return draw(self.dot, format)


def picture(graph: NestGraph, view: str = "nesting", *, optimizers: bool = False) -> Picture:
    """A view of a checked graph; raises NestError N0103 for a view that does not exist.

    `optimizers` draws the levels of optimizers too, their memories of gradients.
    """
    if view not in VIEWS:
        raise fail("N0103", f"there is no view `{view}`", f"choose one of {', '.join(VIEWS)}")
    title = f"{graph.name}: {view}{', with optimizers' if optimizers else ''}"
    return Picture(title, VIEWS[view](graph, optimizers).source)


def format_of(path: Path) -> str:
    """The format that a path's suffix names; raises NestError N0504 for one that is not drawn."""
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in SUFFIXES:
        named = (
            f"`.{suffix}` is no format of pictures" if suffix else f"{path} has no suffix that names a format"
        )
        raise fail("N0504", named, f"end the name in one of {', '.join('.' + known for known in SUFFIXES)}")
    return suffix
