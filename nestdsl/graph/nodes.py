"""The nodes of a nest graph: frozen, fully elaborated, each with the span it was written at.

Ids are paths: `stack[0].titans` is the level `titans` in the first copy of `stack`. `declared`
is the same path with `[*]` for the copies that `repeat` makes, which share one declaration.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from nestdsl.graph.optimizer import OptimizerProgram
from nestdsl.source import Span
from nestdsl.vocabulary.clauses import BY_NAME, Clause
from nestdsl.vocabulary.signatures import Takes, Value
from nestdsl.vocabulary.timing import THROUGH, Gradient, ReadTime, Reset, Unit

TRAIN = "@train"
"""The id of the outermost level; no name of a program has its first sign."""

FROZEN_BLOCK = "frozen block"
"""In `Level.written`: where the block that a level stands in is said to be frozen."""
KIND_CALL = "kind"
"""In `Level.written`: where the kind of a level is called with its arguments."""

Operand = str | int | float
"""What an operation reads: the id of a node, or a number."""


class Learning(Enum):
    """What a level learns from."""

    SURPRISE = "surprise"
    ASSOCIATION = "key -> value"
    CONTENT = "content"


@dataclass(frozen=True, slots=True)
class Scope:
    """One instance of a block, or the model itself (id "").

    `copy` of `copies` numbers the copies of a repeat from 0; both are 1-copy values (0 of 1)
    elsewhere.
    """

    id: str
    declared: str
    block: str
    parent: str | None
    span: Span
    copy: int = 0
    copies: int = 1
    body: Span | None = None
    """Where the block is declared; None for the model itself."""


@dataclass(frozen=True, slots=True)
class Input:
    """The model's input: ids below `size`, or vectors of `size`."""

    id: str
    scope: str
    takes: Takes
    size: int
    span: Span


@dataclass(frozen=True, slots=True)
class Flow:
    """A named flow; its one `flow` edge says what it is. Blocks have the flows `in` and `out`."""

    id: str
    scope: str
    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Operation:
    """A function or arithmetic on flows and numbers.

    `function` is a library function, or one of add subtract multiply divide power negate
    constant (whose value is its only operand).
    """

    id: str
    scope: str
    function: str
    operands: tuple[Operand, ...]
    options: tuple[tuple[str, Value], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Read:
    """A level read with a flow."""

    id: str
    scope: str
    level: str
    operand: str
    span: Span


@dataclass(frozen=True, slots=True)
class OptimizerUse:
    """An optimizer with its arguments: numbers, schedules as written, or node ids for flows.

    `program` is what it does, where it is written in the language; those without are the built-in
    optimizers of memories in context.
    """

    name: str
    arguments: tuple[tuple[str, Value], ...]
    flows: tuple[tuple[str, str], ...]
    span: Span
    program: OptimizerProgram | None = None
    given: tuple[str, ...] = ()
    """The arguments that the program says; the others have their defaults."""


@dataclass(frozen=True, slots=True)
class Init:
    """Where a level's state starts: a word of `STARTS` and its number; or from another level's state.

    `trained`: whether the outer levels train the start; that of a memory may be fixed. `level` is the id of
    that other level; this one then has no weights of its own [Nested Learning, Eq. 72]. A learned start may
    have its first values from a `file`, beneath a `key`, of whose `part` it is.
    """

    kind: str = "learned"
    number: float | None = None
    trained: bool = True
    level: str = ""
    file: str = ""
    key: str = ""
    part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level: a memory, what it learns, how often, and by which optimizer.

    `optimizer` is None where the level takes that of the model's `train` clause. `written` lists
    the clauses that the program says for it, with their places. Levels inside an optimizer
    (`owner` is not empty) are its memories, and the iterations that it solves: `owner` is the declared
    id of what it drives, or `train`. A level moves `iterations` times in each period.
    """

    id: str
    declared: str
    scope: str
    name: str
    kind: str
    arguments: tuple[tuple[str, Value], ...]
    span: Span
    learning: Learning = Learning.SURPRISE
    period: int = 1
    unit: Unit = Unit.STEP
    iterations: int = 1
    chunk: int = 1
    frozen: bool = False
    objective: str | None = None
    exponent: float = 2.0
    optimizer: OptimizerUse | None = None
    init: Init = Init()
    reset: Reset = Reset.CONTEXT
    gradient: Gradient = THROUGH
    read: ReadTime = ReadTime.AFTER
    owner: str = ""
    written: tuple[tuple[str, Span], ...] = ()

    @property
    def in_context(self) -> bool:
        """True if each sequence has its own state, which changes while it is read."""
        return self.unit is Unit.TOKEN and not self.frozen

    @property
    def learns_surprise_in_context(self) -> bool:
        """True for a level of the continuum memory system: weights of each sequence's own [Nested Learning,
        Eq. 71]."""
        return self.in_context and self.learning is Learning.SURPRISE

    @property
    def rule_in_context(self) -> str:
        """What moves a memory: gd, dgd, momentum, or dgd_momentum (dgd that is given a momentum)."""
        if self.optimizer is None:
            return "gd"
        numbers, flows = dict(self.optimizer.arguments), dict(self.optimizer.flows)
        has_momentum = numbers.get("momentum") is not None or "momentum" in flows
        return "dgd_momentum" if self.optimizer.name == "dgd" and has_momentum else self.optimizer.name

    @property
    def forgets_first(self) -> bool:
        """Whether the gradient of a memory with `gd` is that of what retention leaves."""
        return self.optimizer is not None and dict(self.optimizer.arguments).get("forget_first") is True

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """The clauses that the program has for it, in their order."""
        return tuple(BY_NAME[name] for name, _ in self.written if name in BY_NAME)

    def clause(self, clause: Clause) -> Span:
        """Where the program has this clause, or else where the level stands."""
        return self.place(clause.name) or self.span

    def has(self, clause: Clause) -> bool:
        """Whether the program has this clause for the level."""
        return self.place(clause.name) is not None

    def place(self, what: str) -> Span | None:
        """Where the program has a clause, by its name, FROZEN_BLOCK or KIND_CALL."""
        return dict(self.written).get(what)


@dataclass(frozen=True, slots=True)
class Train:
    """The outermost level: the loss, and the optimizer of every level that names none."""

    id: str
    objective: str
    period: int
    optimizer: OptimizerUse
    span: Span


Node = Input | Flow | Operation | Read | Level | Train


class EdgeType(Enum):
    """What an edge carries; `render` tells them apart by line and colour."""

    READ = "read"
    """A context flow: data that a node reads, or the state of a level that is read."""
    KEY = "key"
    VALUE = "value"
    SURPRISE = "surprise"
    GENERATE = "generate"
    """A flow that sets another level's step or retention (knowledge transfer by generation)."""
    INIT = "init"
    RESET = "reset"
    OPTIMIZE = "optimize"
    """From an optimizer's memory to the level it drives."""


LEARNING_EDGES = (EdgeType.KEY, EdgeType.VALUE, EdgeType.SURPRISE)
