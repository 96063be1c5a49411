"""One source line as a terminal shows it, with a caret under what is meant.

Widths are in terminal cells: a wide character takes two, a combining one none. What does not
print (control characters, bidirectional marks, odd spaces) is shown as its escape, so that a
program can neither hide what it says nor drive the terminal that shows it.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import get_character_cell_size

from nestdsl.characters import escape
from nestdsl.source import Span

MAX_CELLS = 100
TAB_CELLS = 4
_ELLIPSIS = "..."


@dataclass(frozen=True, slots=True)
class Excerpt:
    """`text` is ready to print; `indent` cells before the first caret, then `carets` of them."""

    text: str
    indent: int
    carets: int


def excerpt(span: Span) -> Excerpt:
    """The first line of a span, cut to MAX_CELLS around it."""
    line_start, line_end = span.source.line_bounds(span.line)
    length = line_end - line_start
    start = min(span.column - 1, length)
    end = length if span.end_line > span.line else min(span.end_column - 1, length)

    # Only what is near can be shown, and a line may be a whole file long.
    first = max(0, start - MAX_CELLS)
    near = span.source.text[line_start + first : min(line_start + start + MAX_CELLS, line_end)]
    shown = _cells(near)
    start, end = start - first, min(end - first, len(shown))
    is_cut = first > 0 or first + len(shown) < length
    left, right = _window(shown, start, end, is_cut)

    before = _ELLIPSIS if first + left > 0 else ""
    after = _ELLIPSIS if first + right < length else ""
    return Excerpt(
        text=before + "".join(text for text, _ in shown[left:right]) + after,
        indent=len(before) + _width(shown[left:start]),
        carets=max(1, _width(shown[start : min(end, right)])),
    )


def is_multiline(span: Span) -> bool:
    """True if a span goes on past the end of its first line; the line end itself does not count."""
    return span.line < span.end_line and span.source.text.find("\n", span.start, span.end) < span.end - 1


def _cells(text: str) -> list[tuple[str, int]]:
    """Each character as it is shown, with its width."""
    cells: list[tuple[str, int]] = []
    column = 0
    for character in text:
        if character == "\t":
            width = TAB_CELLS - column % TAB_CELLS
            shown = " " * width
        elif character.isprintable():
            width = get_character_cell_size(character)
            shown = character
        else:
            shown = escape(character)
            width = len(shown)
        cells.append((shown, width))
        column += width
    return cells


def _width(cells: list[tuple[str, int]]) -> int:
    return sum(width for _, width in cells)


def _window(cells: list[tuple[str, int]], start: int, end: int, is_cut: bool) -> tuple[int, int]:
    """Which cells to show: all if they fit, else the span, what leads to it, and what follows."""
    if not is_cut and _width(cells) <= MAX_CELLS:
        return 0, len(cells)
    room = MAX_CELLS - 2 * len(_ELLIPSIS)
    left = right = start
    used = 0
    while right < end and used + cells[right][1] <= room * 2 // 3:
        used += cells[right][1]
        right += 1
    while left > 0 and used + cells[left - 1][1] <= room * 3 // 4:
        left -= 1
        used += cells[left][1]
    while right < len(cells) and used + cells[right][1] <= room:
        used += cells[right][1]
        right += 1
    while left > 0 and used + cells[left - 1][1] <= room:
        left -= 1
        used += cells[left][1]
    return left, right
