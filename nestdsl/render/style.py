"""How a picture looks: one palette, line styles, and the legend that explains those in use.

Nothing is told by colour alone: frequencies stand in the text of boxes, and each sort of edge has
a line or an arrowhead of its own. Line colours are Okabe and Ito's, safe for the colour-blind;
fills run from blue (across sequences, slow) to orange (in context, fast).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import Enum
from html import escape

import graphviz

from nestdsl.graph.nodes import EdgeType
from nestdsl.graph.order import Speed

FONT = "Helvetica"
"""Exactly this name: graphviz-pure carries its metrics."""

INK = "#222222"
FAINT = "#4D4D4D"

_NEVER = "#E4E4E4"
_STEPS = ("#E3EEF9", "#C9DDF0", "#A6CBE6", "#82B5DA")
_TOKENS = ("#FDEBD3", "#FDD9AE", "#FDC583", "#FBB05C")
_EVERY_READ = "#FFF6B8"


class Line(Enum):
    """The sorts of edges that a picture tells apart."""

    FLOW = "context flow"
    LEARN = "learns key and value"
    SURPRISE = "learns surprise, the gradient of the loss"
    INIT = "transfer: first state"
    GENERATE = "transfer: generated step or retention"
    RESET = "transfer: starts again"
    OPTIMIZE = "memory of the optimizer"


@dataclass(frozen=True, slots=True)
class _Look:
    style: str
    color: str
    arrowhead: str
    width: str = "1.1"


_LOOKS = {
    Line.FLOW: _Look("solid", INK, "normal"),
    Line.LEARN: _Look("dashed", "#0072B2", "vee", "1.4"),
    Line.SURPRISE: _Look("dashed", "#C14E00", "onormal"),
    Line.INIT: _Look("dotted", "#007D5A", "odiamond", "1.6"),
    Line.GENERATE: _Look("dotted", "#A3447B", "odot", "1.6"),
    Line.RESET: _Look("dotted", FAINT, "tee", "1.6"),
    Line.OPTIMIZE: _Look("solid", FAINT, "box"),
}

LINE_OF = {
    EdgeType.READ: Line.FLOW,
    EdgeType.KEY: Line.LEARN,
    EdgeType.VALUE: Line.LEARN,
    EdgeType.SURPRISE: Line.SURPRISE,
    EdgeType.GENERATE: Line.GENERATE,
    EdgeType.INIT: Line.INIT,
    EdgeType.RESET: Line.RESET,
    EdgeType.OPTIMIZE: Line.OPTIMIZE,
}


def line_attributes(line: Line) -> dict[str, str]:
    """The DOT attributes of an edge."""
    look = _LOOKS[line]
    return {
        "style": look.style,
        "color": look.color,
        "fontcolor": look.color,
        "arrowhead": look.arrowhead,
        "penwidth": look.width,
    }


def fills(speeds: Iterable[Speed]) -> dict[Speed, str]:
    """A fill for each frequency of a picture: deeper is faster, blue for steps, orange for tokens."""
    found = sorted(set(speeds))
    result: dict[Speed, str] = {}
    for unit, shades in ((1, _STEPS), (2, _TOKENS)):
        own = [speed for speed in found if speed[0] == unit]
        for place, speed in enumerate(own):
            spread = place * (len(shades) - 1) / max(len(own) - 1, len(shades) - 1)
            result[speed] = shades[round(spread)]
    for speed in found:
        if speed[0] not in (1, 2):
            result[speed] = _EVERY_READ if speed[0] else _NEVER
    return result


def number(count: int) -> str:
    """`940`, `16.6 k`, `1.31 M`."""
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {letter}"
    return str(count)


def text(words: str, size: int = 0, bold: bool = False, color: str = "") -> str:
    """Escaped words as HTML of a DOT label."""
    inner = escape(words, quote=False)
    inner = f"<B>{inner}</B>" if bold else inner
    attributes = (f' POINT-SIZE="{size}"' if size else "") + (f' COLOR="{color}"' if color else "")
    return f"<FONT{attributes}>{inner}</FONT>" if attributes else inner


def label(rows: Sequence[str]) -> str:
    """Rows of HTML, one under the other, as a DOT label."""
    return f"<{'<BR/>'.join(rows)}>"


def picture(name: str, legend: str, rankdir: str, ranksep: str) -> graphviz.Digraph:
    """An empty picture with the fonts and defaults that both views share, and its legend in a corner."""
    drawing = graphviz.Digraph(name)
    drawing.attr(
        "graph",
        fontname=FONT,
        fontsize="11",
        rankdir=rankdir,
        compound="true",
        nodesep="0.22",
        ranksep=ranksep,
        pad="0.15",
        label=legend,
        labelloc="b",
        labeljust="l",
    )
    drawing.attr(
        "node",
        fontname=FONT,
        fontsize="11",
        fontcolor=INK,
        color=INK,
        shape="box",
        style="rounded,filled",
        fillcolor="white",
        margin="0.1,0.06",
        height="0.2",
        width="0.2",
    )
    drawing.attr("edge", fontname=FONT, fontsize="9", arrowsize="0.7")
    return drawing


def cluster(drawing: graphviz.Digraph, name: str) -> AbstractContextManager[graphviz.Digraph]:
    """A frame inside of a picture, to be filled in a `with` statement."""
    opened = drawing.subgraph(name=f"cluster {name}")
    assert opened is not None  # it is None only where a whole graph is given
    return opened


def legend(lines: Iterable[Line], swatches: Iterable[tuple[str, str]] = (), notes: Sequence[str] = ()) -> str:
    """A small table of the lines in use, in their fixed order, of fills with their meanings, and remarks."""
    used = set(lines)
    cells = [_sample(line) for line in Line if line in used]
    rows = _paired(cells) + _paired([_swatch(color, words) for color, words in swatches])
    rows += [f'<TD COLSPAN="4" ALIGN="LEFT">{text(note, 9, color=FAINT)}</TD>' for note in notes]
    body = "".join(f"<TR>{row}</TR>" for row in rows)
    return '<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">' + body + "</TABLE>>"


def _paired(cells: list[str]) -> list[str]:
    return ["".join(cells[start : start + 2]) for start in range(0, len(cells), 2)]


def _swatch(color: str, words: str) -> str:
    sample = (
        f'<TABLE BORDER="1" COLOR="{FAINT}" BGCOLOR="{color}" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0">'
        '<TR><TD WIDTH="24" HEIGHT="9"></TD></TR></TABLE>'
    )
    return f'<TD>{sample}</TD><TD ALIGN="LEFT">{text(words, 9)}</TD>'


def _sample(line: Line) -> str:
    look = _LOOKS[line]
    width = "2" if float(look.width) > 1.3 else "1"
    stroke = (
        f'<TABLE BORDER="0" CELLBORDER="{width}" CELLSPACING="0" CELLPADDING="0"><TR>'
        f'<TD SIDES="B" STYLE="{look.style}" COLOR="{look.color}" WIDTH="30" HEIGHT="6"></TD></TR>'
        '<TR><TD BORDER="0" HEIGHT="5"></TD></TR></TABLE>'
    )
    return f'<TD>{stroke}</TD><TD ALIGN="LEFT">{text(line.value, 9)}</TD>'
