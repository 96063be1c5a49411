"""What one body declares: of a model, a block or an optimizer."""

from __future__ import annotations

from dataclasses import dataclass, field

from nestdsl.semantics.names.clauses import Clauses
from nestdsl.source import Span
from nestdsl.syntax import ast


@dataclass(slots=True)
class Declared:
    """The statements of a body by name, each name once, in the order of the text.

    `broken` are the names of statements that could not be read. `default` are the clauses of a model's or
    block's `default`; `only` is an optimizer's `only matrices else`.
    """

    flows: dict[str, ast.Flow] = field(default_factory=dict)
    levels: dict[str, ast.Level] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    has_unnamed: bool = False
    """Whether a statement could not be read, not even its name."""
    default: Clauses = field(default_factory=dict)
    only: ast.Only | None = None

    def place_of(self, name: str) -> Span | None:
        """Where a name is declared."""
        found = self.flows.get(name) or self.levels.get(name)
        return None if found is None else found.name.span
