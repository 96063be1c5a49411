"""The words of `init`: how the weights of a level may start, and the number that each takes.

`runtime/kinds/weights.py` draws them; `Kind.starts` says which have a meaning for a kind.
"""

from __future__ import annotations

from nestdsl.vocabulary.types import ArgumentSpec, Type


def _positive(name: str, default: float | None = None) -> ArgumentSpec:
    if default is None:
        return ArgumentSpec(name, Type.NUMBER, minimum=0.0, exclusive=True)
    return ArgumentSpec(name, Type.NUMBER, default, minimum=0.0, exclusive=True)


LEARNED = "learned"
"""The kind's own start; and with a start in brackets, that the outer levels train that of a memory."""

STARTS: dict[str, ArgumentSpec | None] = {
    LEARNED: None,
    "zeros": None,
    "normal": _positive("std", 0.02),
    "uniform": _positive("bound"),
    "identity": None,
    "orthogonal": _positive("gain", 1.0),
    "scaled": ArgumentSpec("factor", Type.NUMBER, minimum=0.0),
}
"""Each start with its number, if it takes one. `scaled` is the kind's own start times its factor."""

ALWAYS_TRAINED = (LEARNED, "scaled")
"""Starts that the outer levels train by their meaning, those of memories too."""

OF_THE_LAST = ("zeros", "identity", "scaled")
"""Starts that speak of what a level gives: of several layers they are the last one's, and the others start as
the kind has it. Two matrices of zeros would never learn: no gradient passes either."""

MEMORY_DEVIATION = 0.02
"""Of the learned start of a memory: small beside what is learned in context, and not zero, so that the
first token's query has a gradient."""
