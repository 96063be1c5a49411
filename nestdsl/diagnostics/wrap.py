"""Sentences broken between words, as wide as a terminal is."""

from __future__ import annotations

from rich.cells import cell_len

_LEAST = 20
"""Fewer cells than this hold no sentence: there, words are left to the terminal."""


def wrapped(text: str, width: int | None, first: int, rest: int) -> str:
    """The text in lines of at most `width` cells, all but the first indented by `rest`.

    `first` cells of the first line are taken already. A word that fits into no line stays whole, and
    without a width only the line ends of the text itself count.
    """
    indent = "\n" + " " * rest
    if width is None or width - rest < _LEAST:
        return text.replace("\n", indent)
    lines: list[str] = []
    for number, paragraph in enumerate(text.split("\n")):
        lines += _lines(paragraph, width - rest, width - (rest if number else first))
    return indent.join(lines)


def _lines(paragraph: str, width: int, room: int) -> list[str]:
    """Greedily: as many words as fit, in a first line of `room` cells and more lines of `width`."""
    lines: list[str] = []
    line, *words = paragraph.split(" ")
    for word in words:
        longer = f"{line} {word}"
        if line.strip() and cell_len(longer) > (width if lines else room):
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]
