"""The grammar file, and the one lark parser that is made of it.

To make the parser's tables takes longer than to check a program, so they are kept beside the grammar, in
`nest.tables.json`; after a change of the grammar, `python -m nestdsl.syntax.grammar` writes them again. They
are plain data, and used only for the very text and the release of lark that they were made from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import lark
from lark import Lark, Token
from lark.grammar import Rule
from lark.lark import PostLex
from lark.lexer import TerminalDef

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
    grammar = grammar_path().read_text(encoding="utf-8")
    return _from_tables(grammar) or from_text(grammar)


def from_text(grammar: str) -> Lark:
    """The parser, made from the text of the grammar alone."""
    return Lark(
        grammar,
        parser="lalr",
        lexer="contextual",
        postlex=LineEnds(),
        keep_all_tokens=True,
        maybe_placeholders=True,
    )


# --- tables --------------------------------------------------------------------------------


def tables(grammar: str) -> str:
    """The tables of the grammar's parser as JSON, and what they are made from; lark numbers by chance."""
    data, memo = from_text(grammar).memo_serialize([TerminalDef, Rule])
    del data["options"]["postlex"]  # which is code, not data
    kept = {"lark": lark.__version__, "grammar": grammar, "data": data, "memo": memo}
    return json.dumps(kept, separators=(",", ":")) + "\n"


def tables_path() -> Path:
    """Where the tables are kept: beside the grammar."""
    return grammar_path().with_suffix(".tables.json")


def _from_tables(grammar: str) -> Lark | None:
    """The parser of the tables that are kept; None if they are of another grammar or release of lark."""
    kept = json.loads(tables_path().read_bytes())
    if (kept["lark"], kept["grammar"]) != (lark.__version__, grammar):
        return None
    data = kept["data"]
    data["options"]["postlex"] = LineEnds()
    table = data["parser"]["parser"]
    table["states"] = _by_number(table["states"])
    return Lark.load({"data": data, "memo": _by_number(kept["memo"])})


def _by_number(named: dict[str, Any]) -> dict[int, Any]:
    """JSON has no numbers as keys."""
    return {int(name): value for name, value in named.items()}


if __name__ == "__main__":
    tables_path().write_text(tables(grammar_path().read_text("utf-8")), "utf-8")
