"""What people bring along from other languages: `nn.Linear(64, 256)`, `every: 4 steps`, `chunk = 4`."""

from __future__ import annotations

import re

from nestdsl.diagnostics import Diagnostic
from nestdsl.source import Source
from nestdsl.syntax.lines import CLAUSE_WORDS, Line
from nestdsl.syntax.wording import quote, unquoted

_WITHOUT_EQUAL = frozenset((*CLAUSE_WORDS, "input", "default", "train"))
_PREFIXED = re.compile(r"(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
_TWO_ARGUMENTS = re.compile(r"\([ \t]*[\w.]+[ \t]*,[ \t]*([\w.]+)[ \t]*[,)]")
_BEFORE_CAPITAL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Of torch, where its name is more than another spelling.
_NAMES = {"SiLU": "silu", "GELU": "gelu", "ReLU": "relu", "Conv1d": "conv"}
_SIZE_IS_SECOND = ("Linear", "Embedding")


def explain(source: Source, start: int, line: Line, statement: str) -> Diagnostic | None:
    """N0001 for a sign at `start` that other languages have there; None if it is no such thing.

    `statement` is the word that the present statement or clause begins with.
    """
    if source.text[start] == ".":
        return _prefix(source, start, line)
    is_keyword = line.before == statement and statement in _WITHOUT_EQUAL
    if source.text[start] in "=:" and (is_keyword or (line.before == "chunk" and statement == "every")):
        return _equal(source, start, line)
    return None


def _prefix(source: Source, start: int, line: Line) -> Diagnostic | None:
    """`nn.Linear(64, 256)`"""
    following = _PREFIXED.match(source.text, start)
    if following is None or not line.before.isidentifier():
        return None
    last = following.group().rpartition(".")[2]
    name = _NAMES.get(last, _BEFORE_CAPITAL.sub("_", last).lower())
    arguments = _TWO_ARGUMENTS.match(source.text, following.end())
    if arguments is not None and last in _SIZE_IS_SECOND:
        name += f"({arguments.group(1)})"
    span = source.span(line.before_end - len(line.before), following.end())
    return Diagnostic("N0001", "names have no prefix here", span, f"write {quote(name)}")


def _equal(source: Source, start: int, line: Line) -> Diagnostic:
    """`objective = cross_entropy`, `every: 4 steps`, `chunk = 4`"""
    sign = source.text[start]
    what = "a statement" if line.before in ("input", "default", "train") else "a clause"
    rest = " ".join(source.text[start + 1 : max(start + 1, line.last_end)].split())
    written = f"{', ' * (line.before == 'chunk')}{line.before} {unquoted(rest)}".rstrip()
    message = f"{what} has no `{sign}`: `{line.before}` stands right before what it says"
    return Diagnostic("N0001", message, source.span(start, start + 1), f"write `{written}`")
