"""Makes the nodes of the syntax tree while the parser reduces: one method for each rule of `nest.lark`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeAlias

from lark import Token

from nestdsl import limits
from nestdsl.diagnostics import Diagnostic
from nestdsl.source import Source, Span
from nestdsl.syntax import ast
from nestdsl.syntax.lines import GOES_ON
from nestdsl.syntax.wording import quote

Parts: TypeAlias = list[Any]
"""What stands in a rule, token by token and node by node; None for each part left out."""


class Rejected(Exception):
    """Text that follows the grammar and is still refused; carries the diagnostic."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class Builder:
    """Builds the nodes of one source. Raises `Rejected` for numbers, names and nesting over the limits."""

    def __init__(self, source: Source) -> None:
        self.source = source
        # How deep each expression of the present statement is, by identity; leaves are not listed.
        self._depths: dict[int, int] = {}

    def begin_statement(self) -> None:
        """Forgets the expressions of earlier statements, whose identities may come again."""
        self._depths.clear()

    # --- helpers ---------------------------------------------------------------------------

    def _span(self, parts: Parts) -> Span:
        """From the first to the last part that is there."""
        first = parts[0]
        # Tokens of a text always know where they are.
        start: int = first.start_pos if isinstance(first, Token) else first.span.start  # type: ignore[assignment]
        index = len(parts) - 1
        while parts[index] is None:
            index -= 1
        last = parts[index]
        end: int = last.end_pos if isinstance(last, Token) else last.span.end  # type: ignore[assignment]
        return Span(self.source, start, end)

    def _name(self, token: Token) -> ast.Name:
        span = self._span([token])
        if len(token) > limits.MAX_NAME_LENGTH:
            message = f"a name has at most {limits.MAX_NAME_LENGTH} characters; this one has {len(token)}"
            raise Rejected(Diagnostic("N0004", message, span, "use a shorter name"))
        return ast.Name(token.value, span)

    def _deeper(self, node: Any, *inner: Any) -> Any:
        """Notes that `node` holds `inner`; refuses what is nested too deep."""
        depths = self._depths
        depth = 1 + max((depths.get(id(part), 0) for part in inner), default=0)
        if depth > limits.MAX_NESTING:
            raise Rejected(too_deep(node.span))
        depths[id(node)] = depth
        return node

    @staticmethod
    def _nodes(parts: Parts) -> tuple[Any, ...]:
        return tuple(part for part in parts if part is not None and not isinstance(part, Token))

    @classmethod
    def _lines(cls, parts: Parts) -> tuple[Any, ...]:
        """The nodes in braces. One that a broken line was meant to go on with is as little known as that."""
        nodes = list(cls._nodes(parts))
        for position, node in enumerate(nodes[1:]):
            if isinstance(node, ast.Broken) and GOES_ON.match(node.span.text):
                match nodes[position]:
                    case ast.Flow(name, _, span) | ast.Param(name, _, span):
                        nodes[position] = ast.Broken(name.text, span)
                    case ast.Learn(_, _, span):
                        nodes[position] = ast.Broken(None, span)
        return tuple(nodes)

    # --- expressions -----------------------------------------------------------------------

    def name(self, parts: Parts) -> ast.Name:
        return self._name(parts[0])

    def number(self, parts: Parts) -> ast.Number:
        token = parts[0]
        span = self._span(parts)
        if len(token) > limits.MAX_NUMBER_DIGITS:
            message = f"a number has at most {limits.MAX_NUMBER_DIGITS} digits; this one has {len(token)}"
            raise Rejected(Diagnostic("N0004", message, span, "write it with an exponent, such as `1e50`"))
        text = token.value
        if text.replace("_", "").isdigit():
            return ast.Number(int(text), span)
        value = float(text)
        if math.isinf(value):
            message = f"{quote(text)} is larger than the largest number, about 1.8e308"
            raise Rejected(Diagnostic("N0203", message, span, "write a smaller number"))
        return ast.Number(value, span)

    def string(self, parts: Parts) -> ast.String:
        return ast.String(parts[0].value[1:-1], self._span(parts))

    def boolean(self, parts: Parts) -> ast.Boolean:
        return ast.Boolean(parts[0].type == "TRUE", self._span(parts))

    def parentheses(self, parts: Parts) -> ast.Expression:
        _, inner, _ = parts
        if isinstance(inner, (ast.Name, ast.Number, ast.String, ast.Boolean)):
            return self._deeper(inner, inner)
        # The parentheses belong to the span, so that a message underlines them both or neither.
        return self._deeper(replace(inner, span=self._span(parts)), inner)

    def index(self, parts: Parts) -> ast.Index:
        name, _, index, _ = parts
        return self._deeper(ast.Index(self._name(name), index, self._span(parts)), index)

    def bare_call(self, parts: Parts) -> ast.Call:
        name = self._name(parts[0])
        return ast.Call(name, (), name.span)

    def invocation(self, parts: Parts) -> ast.Call:
        arguments = self._nodes(parts)
        call = ast.Call(self._name(parts[0]), arguments, self._span(parts))
        return self._deeper(call, *(argument.value for argument in arguments))

    def argument(self, parts: Parts) -> ast.Argument:
        if len(parts) == 1:
            return ast.Argument(None, parts[0], parts[0].span)
        name, _, value = parts
        return ast.Argument(self._name(name), value, self._span(parts))

    def negative(self, parts: Parts) -> ast.Unary:
        return self._deeper(ast.Unary("-", parts[1], self._span(parts)), parts[1])

    def binary(self, parts: Parts) -> ast.Binary:
        left, operator, right = parts
        return self._deeper(ast.Binary(operator.value, left, right, self._span(parts)), left, right)

    def pipe(self, parts: Parts) -> ast.Pipe:
        stages = self._nodes(parts)
        return self._deeper(ast.Pipe(stages, self._span(parts)), *stages)

    # --- clauses ---------------------------------------------------------------------------

    def learn(self, parts: Parts) -> ast.Learn:
        _, key, _, value = parts
        return ast.Learn(key, value, self._span(parts))

    def objective(self, parts: Parts) -> ast.Objective:
        return ast.Objective(parts[1], self._span(parts))

    def every(self, parts: Parts) -> ast.Every:
        _, count, unit, _, _, chunk = parts
        return ast.Every(count, None if unit is None else self._name(unit), chunk, self._span(parts))

    def optimizer_clause(self, parts: Parts) -> ast.OptimizerClause:
        return ast.OptimizerClause(parts[1], self._span(parts))

    def init(self, parts: Parts) -> ast.Init:
        if len(parts) == 2:
            return ast.Init(parts[1], None, self._span(parts))
        return ast.Init(None, parts[2], self._span(parts))

    def reference(self, parts: Parts) -> ast.Name | ast.Index | ast.String:
        if len(parts) > 1:
            return self.index(parts)
        return self.string(parts) if parts[0].type == "STRING" else self._name(parts[0])

    def reset(self, parts: Parts) -> ast.Reset:
        return ast.Reset(self._name(parts[1]), self._span(parts))

    def gradient(self, parts: Parts) -> ast.Gradient:
        return ast.Gradient(parts[1], self._span(parts))

    def read(self, parts: Parts) -> ast.Read:
        return ast.Read(self._name(parts[1]), self._span(parts))

    def frozen(self, parts: Parts) -> ast.Frozen:
        return ast.Frozen(self._span(parts))

    # --- statements ------------------------------------------------------------------------

    def clauses(self, parts: Parts) -> _Braces:
        return _Braces(self._lines(parts), self._span(parts))

    def level(self, parts: Parts) -> ast.Level:
        _, name, _, count, _, _, kind, _, repeat, clauses = parts
        inner = clauses.nodes if clauses else ()
        return ast.Level(self._name(name), count, kind, repeat, inner, self._span(parts))

    def flow(self, parts: Parts) -> ast.Flow:
        _, name, _, value = parts
        return ast.Flow(self._name(name), value, self._span(parts))

    def default(self, parts: Parts) -> ast.Default:
        return ast.Default(parts[1].nodes, self._span(parts))

    def input(self, parts: Parts) -> ast.Input:
        return ast.Input(parts[1], self._span(parts))

    def train(self, parts: Parts) -> ast.Train:
        return ast.Train(parts[1].nodes, self._span(parts))

    def only(self, parts: Parts) -> ast.Only:
        _, what, _, otherwise = parts
        return ast.Only(self._name(what), otherwise, self._span(parts))

    # --- declarations ----------------------------------------------------------------------

    def dotted(self, parts: Parts) -> _Dotted:
        return _Dotted("".join(part.value for part in parts), self._span(parts))

    def use(self, parts: Parts) -> ast.Use:
        module = parts[1]
        if isinstance(module, _Dotted):
            return ast.Use(module.text, False, self._span(parts))
        return ast.Use(module.value[1:-1], True, self._span(parts))

    def param(self, parts: Parts) -> ast.Param:
        _, name, _, value = parts
        return ast.Param(self._name(name), value, self._span(parts))

    def parameter(self, parts: Parts) -> ast.Parameter:
        name, _, default = parts
        return ast.Parameter(self._name(name), default, self._span(parts))

    def parameters(self, parts: Parts) -> _Braces:
        return _Braces(self._nodes(parts), self._span(parts))

    body = clauses

    def block(self, parts: Parts) -> ast.Block:
        _, name, parameters, body = parts
        inner = parameters.nodes if parameters else ()
        return ast.Block(self._name(name), inner, body.nodes, self._span(parts))

    def optimizer(self, parts: Parts) -> ast.Optimizer:
        _, name, parameters, body = parts
        inner = parameters.nodes if parameters else ()
        return ast.Optimizer(self._name(name), inner, body.nodes, self._span(parts))

    def model(self, parts: Parts) -> ast.Model:
        _, name, parameters, body = parts
        inner = parameters.nodes if parameters else ()
        return ast.Model(self._name(name), inner, body.nodes, self._span(parts))

    # --- what could not be read: the token BROKEN carries the name it seemed to declare --------

    def broken_clause(self, parts: Parts) -> ast.Broken:
        return ast.Broken(parts[0].value or None, self._span(parts))

    broken_statement = broken_clause
    broken_declaration = broken_clause

    def start(self, parts: Parts) -> ast.Program:
        return ast.Program(self._lines(parts), Span(self.source, 0, len(self.source.text)))


class _Braces:
    """The nodes between two braces or parentheses; not itself a node of the tree."""

    __slots__ = ("nodes", "span")

    def __init__(self, nodes: tuple[Any, ...], span: Span) -> None:
        self.nodes = nodes
        self.span = span


class _Dotted:
    """A dotted name such as `std.titans`."""

    __slots__ = ("span", "text")

    def __init__(self, text: str, span: Span) -> None:
        self.text = text
        self.span = span


def too_deep(span: Span) -> Diagnostic:
    """N0004 for an expression that is nested too deep."""
    return Diagnostic(
        "N0004",
        f"brackets and operators are nested more than {limits.MAX_NESTING} deep",
        span,
        "name the parts: give each its own `flow` or `param`",
    )
