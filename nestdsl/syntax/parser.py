"""From text to the syntax tree. Never raises for any text: what cannot be read becomes `Broken`."""

from __future__ import annotations

from nestdsl import limits
from nestdsl.diagnostics import Diagnostic
from nestdsl.source import Source, Span
from nestdsl.syntax.ast import Program
from nestdsl.syntax.recovery import give_up, recover
from nestdsl.syntax.walk import Walk


def parse(source: Source) -> tuple[Program, tuple[Diagnostic, ...]]:
    """The tree of a source, and what is wrong with its text, in the text's order. Never raises.

    Each mistake gives one diagnostic (N0001, N0002, N0004, or N0203 for a number out of range) and
    one `Broken` in the tree; everything around it is read.
    """
    size = len(source.text)
    if size > limits.MAX_FILE_BYTES:
        message = f"a file has at most {limits.MAX_FILE_BYTES:,} characters; this one has {size:,}"
        found = Diagnostic("N0004", message, source.span(0, 0), "split it into several files and `use` them")
        return Program((), Span(source, 0, 0)), (found,)
    diagnostics: list[Diagnostic] = []
    walk = Walk(source)
    while True:
        result = walk.advance()
        if isinstance(result, Program):
            break
        if walk.words > limits.MAX_WORDS or len(diagnostics) >= limits.MAX_DIAGNOSTICS:
            result = give_up(walk, result, diagnostics)
            break
        recover(walk, result, diagnostics)
    diagnostics.sort(key=lambda diagnostic: diagnostic.span.start if diagnostic.span else 0)
    return result, tuple(diagnostics)
