"""The one layout of a program: same tree, same comments, same lines; blanks and braces in their places.

Two blanks for each depth of braces, one around binary operators, `=` and `->`. Each statement has its
own line, and each clause; clauses that were written on one line stay there, three blanks apart, if
the line has room. Inside an expression the writer's line ends stay. One blank line at most.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lark import Token

from nestdsl.diagnostics import NestError
from nestdsl.source import Source
from nestdsl.syntax.grammar import language
from nestdsl.syntax.lines import CLAUSE_WORDS
from nestdsl.syntax.parser import parse

LINE_LENGTH = 100
"""Columns that clauses on one line may take."""

_INDENT = "  "
_BETWEEN_CLAUSES = "   "
_CLAUSES = frozenset(word.upper() for word in CLAUSE_WORDS)
_OPERAND_ENDS = frozenset({"NAME", "NUMBER", "STRING", "TRUE", "FALSE", "RPAR", "RSQB"})
_OPENING = frozenset({"LPAR", "LSQB"})
_CLOSING = frozenset({"RPAR", "RSQB"})
_REMARK_OR_LINE_END = re.compile(r"#[^\n]*|\n")


def format_source(source: Source) -> str:
    """The text of a program in the one layout. Formatting it again changes nothing.

    Raises NestError with the diagnostics of a program that cannot be read.
    """
    _, found = parse(source)
    if found:
        raise NestError(found)
    pieces, last_remarks = _pieces(source.text)
    layout = _Layout()
    index = 0
    while index < len(pieces):
        index = layout.place(pieces, index)
    return layout.finish(last_remarks)


@dataclass(frozen=True, slots=True)
class _Remark:
    """A comment, and how many line ends stand before it."""

    text: str
    line_ends: int


@dataclass(frozen=True, slots=True)
class _Piece:
    """A token with what stands between it and the one before.

    `line_ends` counts those after the last remark. `ends` says that one of them ends a statement
    or a clause; the others stand inside an expression.
    """

    token: Token
    remarks: tuple[_Remark, ...]
    line_ends: int
    ends: bool

    @property
    def kind(self) -> str:
        return self.token.type

    @property
    def is_joined(self) -> bool:
        """Whether it stands on the line of the token before."""
        return not self.line_ends and not self.remarks


def _pieces(text: str) -> tuple[list[_Piece], tuple[_Remark, ...]]:
    pieces: list[_Piece] = []
    end = 0
    ends = False
    for token in language().parse_interactive(text).iter_parse():
        if token.type == "_NL":
            ends = True
            continue
        assert token.start_pos is not None and token.end_pos is not None
        remarks, line_ends = _gap(text[end : token.start_pos])
        pieces.append(_Piece(token, remarks, line_ends, ends))
        end, ends = token.end_pos, False
    return pieces, _gap(text[end:])[0]


def _gap(text: str) -> tuple[tuple[_Remark, ...], int]:
    """The comments between two tokens, and the line ends after the last."""
    remarks: list[_Remark] = []
    line_ends = 0
    for found in _REMARK_OR_LINE_END.finditer(text):
        if found.group() == "\n":
            line_ends += 1
        else:
            remarks.append(_Remark(found.group().rstrip(), line_ends))
            line_ends = 0
    return tuple(remarks), line_ends


class _Layout:
    """The lines so far, and where in the program the last one stands."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.line = ""
        self.depth = 0
        self.line_depth = 0
        self.brackets: list[int] = []  # for each that is open, the depth of the line it stands on
        self.before: _Piece | None = None
        self.is_sign = False

    def place(self, pieces: list[_Piece], index: int) -> int:
        """Places the token at `index`, and with a `{` its clauses where they fit; the index that follows."""
        piece = pieces[index]
        kind = piece.kind
        before = self.before.kind if self.before else ""
        following = pieces[index + 1] if index + 1 < len(pieces) else None
        if kind == "COMMA" and following and following.kind == "RPAR" and following.is_joined:
            return index + 1  # a last comma is of use only where each argument has its line
        if kind == "RBRACE":
            self.depth -= 1
            if before == "LBRACE" and piece.remarks == ():
                self.line += "}"
            else:
                self._break(piece, remark_depth=self.depth + 1, keep_blank=before != "LBRACE")
                self.line += "}"
        elif piece.ends or before == "LBRACE" or (self.depth == 2 and kind in _CLAUSES):
            self._break(piece, remark_depth=self.depth, keep_blank=before != "LBRACE")
            self.line += piece.token
        elif piece.line_ends or piece.remarks:
            self._continue(piece)
            self.line += piece.token
        elif self.before is None:
            self.line = str(piece.token)
        else:
            self.line += self._space(piece) + piece.token
        self._pass(piece)
        if kind == "LBRACE":
            end = self._clauses_on_one_line(pieces, index)
            if end is not None:
                return end
            self.depth += 1
        return index + 1

    def finish(self, remarks: tuple[_Remark, ...]) -> str:
        """The whole text, with the remarks after the last token."""
        self._remarks(remarks, 0, keep_blank=True)
        self.lines.append(self.line)
        text = "\n".join(self.lines).strip("\n")
        return text + "\n" if text else ""

    # --- one token ---------------------------------------------------------------------------

    def _pass(self, piece: _Piece) -> None:
        """Remembers a token that has been placed."""
        before = self.before.kind if self.before else ""
        self.is_sign = piece.kind == "MINUS" and before not in _OPERAND_ENDS
        if piece.kind in _OPENING:
            self.brackets.append(self.line_depth)
        elif piece.kind in _CLOSING:
            self.brackets.pop()
        self.before = piece

    def _space(self, piece: _Piece) -> str:
        """What stands between the token before and this one on a line."""
        assert self.before is not None
        before, kind = self.before.kind, piece.kind
        if (
            before in _OPENING
            or kind in _CLOSING
            or kind == "COMMA"
            or "DOT" in (before, kind)
            or self.is_sign
        ):
            return ""
        if kind in _OPENING and before == "NAME":
            return ""
        return " "

    def _clauses_on_one_line(self, pieces: list[_Piece], index: int) -> int | None:
        """Places the clauses of the `{` at `index` on its line, if they were there and fit; what follows."""
        if self.depth != 1:
            return None
        end = index + 1
        while pieces[end].kind != "RBRACE":
            end += 1
        inner = pieces[index + 1 : end + 1]
        if len(inner) == 1 or not all(piece.is_joined for piece in inner):
            return None
        start, state = self.line, (self.before, self.is_sign)
        for place, piece in enumerate(inner):
            if piece.kind == "COMMA" and inner[place + 1].kind == "RPAR":
                continue
            starts_clause = piece.kind in _CLAUSES and place > 0
            self.line += (_BETWEEN_CLAUSES if starts_clause else self._space(piece)) + piece.token
            self._pass(piece)
        if len(self.line) <= LINE_LENGTH:
            return end + 1
        self.line = start
        self.before, self.is_sign = state
        return None

    # --- lines ---------------------------------------------------------------------------------

    def _break(self, piece: _Piece, remark_depth: int, *, keep_blank: bool) -> None:
        """Begins the line of a statement, a clause or a `}`."""
        self._remarks(piece.remarks, remark_depth, keep_blank=keep_blank)
        is_blank_kept = (keep_blank or bool(piece.remarks)) and piece.kind != "RBRACE"
        self._new_line(self.depth, blank=is_blank_kept and piece.line_ends > 1)

    def _continue(self, piece: _Piece) -> None:
        """Begins a further line of an expression."""
        outer = self.brackets[-1] if self.brackets else self.depth
        self._remarks(piece.remarks, outer + 1, keep_blank=False)
        self._new_line(outer if piece.kind in _CLOSING else outer + 1, blank=False)

    def _remarks(self, remarks: tuple[_Remark, ...], depth: int, *, keep_blank: bool) -> None:
        for remark in remarks:
            if remark.line_ends:
                self._new_line(depth, blank=keep_blank and remark.line_ends > 1)
                self.line += remark.text
            else:
                self.line += ("  " if self.line else "") + remark.text
            keep_blank = True

    def _new_line(self, depth: int, *, blank: bool) -> None:
        if self.lines or self.line:
            self.lines.append(self.line)
            if blank:
                self.lines.append("")
        self.line = _INDENT * depth
        self.line_depth = depth
