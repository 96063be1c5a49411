"""The grammar file, and the one lark parser that is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lark import Lark, Token
from lark.lark import PostLex

OPENING = frozenset({"LPAR", "LSQB"})
_CLOSING = frozenset({"RPAR", "RSQB"})
_BRACES = frozenset({"LBRACE", "RBRACE"})
_UNFINISHED = frozenset({"ARROW", "POWER", "PLUS", "MINUS", "STAR", "SLASH", "EQUAL", "COMMA"})


class LineEnds(PostLex):
    """Drops the line ends that do not end anything: in brackets, and after `+ - * / ** -> = ,`."""

    # Signs are read alike in every state, so that `->` is never `-` and a stray `>`.
    always_accept = ("_NL", "TRUE", "FALSE", *OPENING, *_CLOSING, *_BRACES, *_UNFINISHED)

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        depth = 0
        unfinished = False
        for token in stream:
            kind = token.type
            if kind == "_NL":
                if depth or unfinished:
                    continue
            elif kind in OPENING:
                depth += 1
            elif kind in _CLOSING:
                depth = max(0, depth - 1)
            elif kind in _BRACES:
                depth = 0
            unfinished = kind in _UNFINISHED
            yield token


def grammar_path() -> Path:
    """Where `nest.lark` is: inside the package (a wheel), or beside it (an editable install)."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "grammars" / "nest.lark"
    return inside if inside.is_file() else package.parent / "grammars" / "nest.lark"


@cache
def language() -> Lark:
    """The parser of `grammars/nest.lark`, made once; it keeps every token in its place."""
    return Lark(
        grammar_path().read_text(encoding="utf-8"),
        parser="lalr",
        lexer="contextual",
        postlex=LineEnds(),
        keep_all_tokens=True,
        maybe_placeholders=True,
    )
