"""From text to the syntax tree. Never raises for any text: what cannot be read becomes `Broken`."""

from __future__ import annotations

import re

from nestdsl import limits
from nestdsl.diagnostics import Diagnostic
from nestdsl.source import Source, Span
from nestdsl.syntax.ast import Broken, Program
from nestdsl.syntax.walk import Walk

_MARKUP = re.compile(r"\s*(?:[{\[<]|---\s|%YAML)")
"""How JSON, TOML, XML and YAML begin."""


def parse(source: Source) -> tuple[Program, tuple[Diagnostic, ...]]:
    """The tree of a source, and what is wrong with its text, in the text's order. Never raises.

    Each mistake gives one diagnostic (N0001, N0002, N0004, or N0203 for a number out of range) and
    one `Broken` in the tree; everything around it is read. Of a text that is clearly no program, such as
    a README, only the first mistakes are reported, and that it is none.
    """
    size = len(source.text)
    if size > limits.MAX_FILE_BYTES:
        message = f"a file has at most {limits.MAX_FILE_BYTES:,} characters; this one has {size:,}"
        found = Diagnostic("N0004", message, source.span(0, 0), "split it into several files and `use` them")
        return Program((), Span(source, 0, 0)), (found,)
    diagnostics: list[Diagnostic] = []
    walk = Walk(source)
    mistakes = 0
    while True:
        result = walk.advance()
        if isinstance(result, Program):
            break
        from nestdsl.syntax.recovery import give_up, recover  # a program without mistakes starts faster

        mistakes += 1  # one diagnostic may stand for all of its line
        is_too_much = len(diagnostics) >= limits.MAX_DIAGNOSTICS or mistakes > limits.MAX_MISTAKES
        if walk.words > limits.MAX_WORDS or is_too_much:
            result = give_up(walk, result, diagnostics)
            break
        recover(walk, result, diagnostics)
    diagnostics.sort(key=lambda diagnostic: diagnostic.span.start if diagnostic.span else 0)
    if diagnostics and _is_other_text(result, source.text):
        return _as_other_text(source, diagnostics)
    return result, tuple(diagnostics)


def _is_other_text(program: Program, text: str) -> bool:
    """Whether a text is clearly not a program: hardly anything at its top could be read."""
    if not any(not isinstance(one, Broken) for one in program.declarations) and _MARKUP.match(text):
        return True
    broken = sum(isinstance(one, Broken) for one in program.declarations)
    return broken >= limits.MAX_STRAY_LINES and broken > 2 * (len(program.declarations) - broken)


def _as_other_text(source: Source, found: list[Diagnostic]) -> tuple[Program, tuple[Diagnostic, ...]]:
    """One diagnostic that says so, and the first of the rest, which nobody would read."""
    whole = source.span(0, len(source.text))
    more = len(found) - limits.MAX_STRAY_LINES
    rest = f": {more} more mistake{'s are' if more > 1 else ' is'} not shown" if more > 0 else ""
    first = found[0].span or whole
    told = Diagnostic(
        "N0001",
        f"this text does not look like a nest program{rest}",
        first,
        "name a `.nest` file: a program begins with `use`, `param`, `block`, `optimizer` or `model`",
    )
    return Program((Broken(None, whole),), whole), (told, *found[: limits.MAX_STRAY_LINES])
