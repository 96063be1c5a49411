"""The walk through a text: lark's interactive parser, fed one token at a time, that can go back.

It stops at the first thing that does not fit. `recovery.py` decides what then happens, with the
few moves that a walk has: go back to the beginning of the present statement, feed a token that
is not in the text, and go on at another offset.
"""

from __future__ import annotations

from dataclasses import dataclass

from lark import Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedToken
from lark.parse_tree_builder import ParseTreeBuilder

from nestdsl import limits
from nestdsl.source import Source
from nestdsl.syntax.ast import Program
from nestdsl.syntax.builder import Builder, Rejected, too_deep
from nestdsl.syntax.grammar import OPENING, language
from nestdsl.syntax.lines import CLAUSE_WORDS, Place, begins_line, indentation
from nestdsl.syntax.mistakes import END, UNREADABLE, Mistake

_LANDMARKS = frozenset(("_NL", "LBRACE", "RBRACE", *(word.upper() for word in CLAUSE_WORDS)))
# The parser's stack holds a few entries for each bracket or operator that is open, and for nothing else.
_MAX_STACK = 10 * limits.MAX_NESTING


@dataclass(slots=True)
class Frame:
    """One pair of braces that is open (or the file), and where its present statement began.

    `height` is the height of the parser's stack there. What lies below is finished and never
    changes until the statement is complete, so cutting the stack down to it is the way back.
    `closed` says that the present statement has ended with its `}`, `is_assumed` that the text
    does not have the `{`.
    """

    place: Place
    brace: int
    height: int
    start: int
    closed: bool = False
    is_assumed: bool = False


class Walk:
    """One text on its way through the parser."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.words = 0
        self.separated_until = -1
        """The end of the line on which a `;` or `,` between statements is reported already."""
        grammar = language()
        self._interactive = grammar.parse_interactive(self.text)
        self._lexer = self._interactive.lexer_thread
        self._state = self._interactive.parser_state
        self._builder = Builder(source)
        # The tables are shared by all walks; the nodes are made for this source alone.
        makers = ParseTreeBuilder(grammar.rules, Tree, maybe_placeholders=True)
        self._state.parse_conf.callbacks = makers.create_callback(self._builder)
        self.frames = [Frame(Place.PROGRAM, -1, len(self._state.state_stack), 0)]

    def advance(self) -> Program | Mistake:
        """Goes on to the end of the text, or to the first thing that does not fit."""
        stack = self._state.state_stack
        feed = self._state.feed_token
        words = self.words
        token = Token(END, "", len(self.text))
        try:
            for token in self._lexer.lex(self._state):
                if token.type == "RBRACE" and self.closes_outer(token.start_pos):  # type: ignore[arg-type]
                    return Mistake(token.type, str(token), token.start_pos)  # type: ignore[arg-type]
                feed(token)
                if token.type in _LANDMARKS:
                    self._note(token)
                words += 1
                if words > limits.MAX_WORDS or len(stack) > _MAX_STACK:
                    return self._beyond_limits(token, words)
            token = Token(END, "", len(self.text), end_pos=len(self.text))
            return feed(token, True)
        except UnexpectedToken as error:
            found = error.token
            return Mistake(found.type, str(found), found.start_pos)  # type: ignore[arg-type]
        except UnexpectedCharacters as error:
            return Mistake(UNREADABLE, "", error.pos_in_stream)  # type: ignore[arg-type]
        except Rejected as error:
            # The token at hand may stand after the rejected part; the part is the mistake.
            span = error.diagnostic.span
            assert span is not None
            return Mistake(token.type, span.text, span.start, error.diagnostic)
        finally:
            self.words = words

    def closes_outer(self, brace: int) -> bool:
        """Whether a `}` is that of the braces around those that the text does not have."""
        frame = self.frames[-1]
        if not frame.is_assumed or len(self.frames) < 3 or not begins_line(self.text, brace):
            return False
        return indentation(self.text, brace) < indentation(self.text, frame.brace)

    def _beyond_limits(self, token: Token, words: int) -> Mistake:
        assert token.start_pos is not None
        self.words = words
        return Mistake(
            token.type,
            str(token),
            token.start_pos,
            too_deep(self.source.span(token.start_pos, token.start_pos + 1)),
        )

    def _note(self, token: Token) -> None:
        """Keeps the frames in step with a token that the parser has taken."""
        height = len(self._state.state_stack)
        frame = self.frames[-1]
        match token.type:
            case "_NL":
                frame.height, frame.start, frame.closed = height, token.end_pos, False  # type: ignore[assignment]
                self._builder.begin_statement()
            case "LBRACE":
                place = Place.BODY if frame.place is Place.PROGRAM else Place.CLAUSES
                self.frames.append(Frame(place, token.start_pos, height, token.end_pos))  # type: ignore[arg-type]
            case "RBRACE":
                self.frames.pop()
                self.frames[-1].closed = True
            case _ if frame.place is Place.CLAUSES:
                frame.height, frame.start, frame.closed = height - 1, token.start_pos, False  # type: ignore[assignment]

    # --- the moves of recovery -------------------------------------------------------------

    def back(self) -> None:
        """Forgets what has been read of the present statement, clause or declaration."""
        height = self.frames[-1].height
        del self._state.state_stack[height:]
        del self._state.value_stack[height - 1 :]
        self._builder.begin_statement()

    def unread(self) -> None:
        """Forgets the last token, which must be a sign that the parser has only just taken."""
        self._state.state_stack.pop()
        self._state.value_stack.pop()

    def feed(self, kind: str, start: int, end: int, value: str = "") -> None:
        """Feeds a token that is not in the text."""
        token = Token(kind, value, start, end_pos=end)
        self._state.feed_token(token)
        if kind in _LANDMARKS:
            self._note(token)

    def go_on_at(self, offset: int) -> None:
        """The next token is read at `offset`."""
        assert self._lexer.state is not None
        self._lexer.state.line_ctr.char_pos = offset

    def finish(self) -> Program:
        """The end of the text, where the parser is ready for it."""
        end = len(self.text)
        program = self._state.feed_token(Token(END, "", end, end_pos=end), True)
        assert isinstance(program, Program)
        return program

    def in_brackets(self) -> bool:
        """Whether a bracket of the present statement is open."""
        parts = self._state.value_stack[self.frames[-1].height - 1 :]
        return any(isinstance(part, Token) and part.type in OPENING for part in parts)

    def accepts(self) -> set[str]:
        """The terminals that could stand here."""
        return self._interactive.accepts()
