"""The syntax tree: frozen nodes, each with its span, one class for each rule of the grammar.

Nodes say what was written, never what it means. A part that could not be read is a `Broken`,
which keeps the name it seemed to declare so that its uses are not reported as well.
"""

from __future__ import annotations

from dataclasses import dataclass

from nestdsl.source import Span

# --- expressions ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Number:
    value: int | float
    span: Span


@dataclass(frozen=True, slots=True)
class String:
    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Boolean:
    value: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Name:
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Index:
    """`name[index]`"""

    name: Name
    index: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a call; `name` is None for a positional one."""

    name: Name | None
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    """`name(arguments)`; a bare name where the grammar wants a call is a Call without arguments."""

    function: Name
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """`-operand`"""

    operator: str
    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """`left operator right` with an operator of + - * / **"""

    operator: str
    left: Expression
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Pipe:
    """`first -> second -> ...`: at least two stages, in order."""

    stages: tuple[Expression, ...]
    span: Span


Expression = Number | String | Boolean | Name | Index | Call | Unary | Binary | Pipe

# --- clauses -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Learn:
    """`learn key -> value`, or `learn expression` with `value` None."""

    key: Expression
    value: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Objective:
    call: Call
    span: Span


@dataclass(frozen=True, slots=True)
class Every:
    """`every count unit, chunk chunk`; `unit` is None where it was left out (N0401)."""

    count: Expression
    unit: Name | None
    chunk: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class OptimizerClause:
    call: Call
    span: Span


@dataclass(frozen=True, slots=True)
class Init:
    """`init call`, or `init from origin` (a level's name, an indexed name or a string)."""

    call: Call | None
    origin: Name | Index | String | None
    span: Span


@dataclass(frozen=True, slots=True)
class Reset:
    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Gradient:
    call: Call
    span: Span


@dataclass(frozen=True, slots=True)
class Read:
    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Frozen:
    span: Span


@dataclass(frozen=True, slots=True)
class Broken:
    """A statement, clause or declaration that could not be read; already reported."""

    name: str | None
    span: Span


Clause = Learn | Objective | Every | OptimizerClause | Init | Reset | Gradient | Read | Frozen | Broken

# --- statements ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Level:
    """`level name[count] = kind repeat n { clauses }`"""

    name: Name
    count: Expression | None
    kind: Call
    repeat: Expression | None
    clauses: tuple[Clause, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Flow:
    name: Name
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Default:
    clauses: tuple[Clause, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Input:
    call: Call
    span: Span


@dataclass(frozen=True, slots=True)
class Train:
    clauses: tuple[Clause, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Only:
    """`only matrices else call`: what an optimizer drives, and the optimizer of all other weights."""

    what: Name
    otherwise: Call
    span: Span


Statement = Level | Flow | Default | Input | Train | Only | Broken

# --- declarations --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Use:
    """`use std.titans` (dotted) or `use "blocks/mine.nest"` (a path)."""

    module: str
    is_path: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Param:
    """`param name = value` of a file."""

    name: Name
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a block, optimizer or model, with its default."""

    name: Name
    default: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Block:
    name: Name
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Optimizer:
    name: Name
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Model:
    name: Name
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    span: Span


Declaration = Use | Param | Block | Optimizer | Model | Broken


@dataclass(frozen=True, slots=True)
class Program:
    """One file."""

    declarations: tuple[Declaration, ...]
    span: Span
